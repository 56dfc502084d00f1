"""What SAT writes: one binary map a class, on a grid of its own that the files do not tell.

SAT turns a scan to RAS, resamples it to 1×1×3 mm, and crops it to the box of its positive voxels; it saves the result,
and a binary map for each prompt, with the identity as affine. The grid is found again by doing the same to the scan,
and what SAT saved of the scan proves it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from monai.data import MetaTensor
from monai.transforms import CropForeground, Spacing
from torch import Tensor

from regbench.api import Grid
from regbench.data import read_volume
from regbench.errors import DataError, RunError

_SPACING_MM = (1.0, 1.0, 3.0)
_LIKENESS = 0.95


@dataclass(frozen=True)
class Finding:
    """SAT's result for one scan.

    Attributes:
        grid: SAT's own.
        masks: label → binary map on it.
    """

    grid: Grid
    masks: Mapping[int, Bool[Tensor, "i j k"]]


def is_complete(folder: Path, name: str, prompts: Iterable[str]) -> bool:
    """Whether SAT is done with a scan: it saves the scan itself after all of its classes."""
    classes = [folder / f"seg_{name}" / f"{prompt}.nii.gz" for prompt in prompts]
    return (folder / f"img_{name}.nii.gz").is_file() and all(path.is_file() for path in classes)


def read_finding(folder: Path, image: Path, prompts: Mapping[int, str], modality: str) -> Finding:
    """Read what SAT wrote for one scan.

    Args:
        folder: of SAT's results.
        image: the file that SAT was given, in RAS order.
        prompts: label → prompt.
        modality: "ct" or "mr".

    Raises:
        RunError: for a class that is missing, a file that cannot be read, or a grid that is not the expected one.
    """
    name = image.name.removesuffix(".nii.gz")
    expected = _preprocessed(image)
    i, j, k = expected.shape[1:]
    grid = Grid((i, j, k), np.asarray(expected.affine, dtype=np.float64))
    seen = _read(folder / f"img_{name}.nii.gz")
    if tuple(seen.shape) != grid.shape or _likeness(expected[0], seen, modality) < _LIKENESS:
        raise RunError(
            f"SAT saw the scan {name} on another grid than expected ({tuple(seen.shape)} instead of {grid.shape}, or "
            "other content); its preprocessing must be RAS, 1×1×3 mm, cropped to positive voxels."
        )
    masks = {label: _mask(folder / f"seg_{name}" / f"{prompt}.nii.gz", grid) for label, prompt in prompts.items()}
    return Finding(grid, masks)


def _preprocessed(image: Path) -> Any:
    scan = read_volume(image)
    tensor = MetaTensor(scan.data[None], affine=torch.from_numpy(scan.grid.affine))
    resampled = Spacing(pixdim=_SPACING_MM, mode="bilinear")(tensor)
    return CropForeground()(resampled)


def _likeness(expected: Any, seen: Float[Tensor, "i j k"], modality: str) -> float:
    """Correlation with what SAT saved, which is clipped and standardised."""
    values = np.asarray(expected, dtype=np.float64)
    low, high = (-500, 1000) if modality == "ct" else np.percentile(values, (0.5, 99.5))
    pair = np.stack([np.clip(values, low, high).ravel(), seen.numpy().ravel()])
    if (pair.std(1) == 0).any():
        return 1.0
    return float(np.corrcoef(pair)[0, 1])


def _mask(path: Path, grid: Grid) -> Bool[Tensor, "i j k"]:
    if not path.is_file():
        raise RunError(f"SAT wrote no mask for '{path.name.removesuffix('.nii.gz')}': expected {path}.")
    mask = _read(path) > 0.5
    if tuple(mask.shape) != grid.shape:
        raise RunError(f"{path} has shape {tuple(mask.shape)}; expected that of the scan SAT saw, {grid.shape}.")
    return mask


def _read(path: Path) -> Float[Tensor, "i j k"]:
    try:
        return read_volume(path).data
    except DataError as error:
        raise RunError(f"What SAT wrote cannot be read: {error.faults[0]}") from error
