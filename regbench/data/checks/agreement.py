"""Whether a label map lies on what its image shows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regbench.api import Volume
from regbench.data.checks.placement import Placement
from regbench.data.files.nifti import Stored


@dataclass(frozen=True, eq=False)
class Opened:
    """A file that was read.

    Attributes:
        stored: as the file has it.
        volume: in the order closest to RAS+.
        placement: where it lies.
    """

    stored: Stored
    volume: Volume
    placement: Placement


def disagreement(image: Opened, labels: Opened) -> str | None:
    """How the place of a label map differs from that of its image, in words; None if it does not."""
    return labels.placement.difference(image.placement) or _orientation_fault(image, labels)


def _orientation_fault(image: Opened, labels: Opened) -> str | None:
    """What is wrong with two headers that name different storage orders of one grid.

    Such files are well if each was stored as its header says. If only a header was changed, then the voxels fit each
    other as they are stored, and not as the headers have it: within one label the intensities spread more widely.
    """
    here, there = labels.placement.orientation, image.placement.orientation
    if here == there or image.stored.array.shape != labels.stored.array.shape:
        return None
    as_stored = spread(image.stored.array, labels.stored.array)
    as_said = spread(image.volume.data.numpy(), labels.volume.data.numpy())
    if not as_said > as_stored:  # nor where one of them is not a number
        return None
    return (
        f"its orientation is {here}, not {there}, yet the voxels of the two fit each other only in the order in which "
        "they are stored; one of the two headers is wrong"
    )


def spread(image: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> float:
    """Variance of the intensities within a label, in the mean over all labelled voxels.

    Args:
        image: (i, j, k) intensities, any real type.
        labels: (i, j, k) label numbers from 0 (left out) to 255.
    """
    inside = labels != 0
    numbers = labels[inside].astype(np.uint8)
    if not numbers.size:
        return 0.0
    values = image[inside].astype(np.float64)
    count = np.maximum(np.bincount(numbers, minlength=256), 1)
    mean = np.bincount(numbers, values, 256) / count
    return float(((values - mean[numbers]) ** 2).mean())
