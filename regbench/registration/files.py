"""Files of anybody's scans, and results with exactly the geometry of the fixed scan's file."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from regbench.api import Volume
from regbench.data.atomic import write_bytes
from regbench.data.inflate import deflated
from regbench.data.nifti import Stored, canonical, nifti_bytes, read_stored
from regbench.data.orientation import Array, inverse, turn_array, turn_of
from regbench.errors import DataError
from regbench.registration.pair import OwnScans

_nibabel: Any = nib


def read_own(
    fixed: Path,
    moving: Path,
    *,
    masks: tuple[Path | None, Path | None] = (None, None),
    labels: tuple[Path | None, Path | None] = (None, None),
) -> OwnScans:
    """Two scans and what belongs to them, in any storage order.

    Args:
        fixed: the scan that stays.
        moving: the scan that is warped.
        masks: label maps of the fixed and the moving scan for the method to look at.
        labels: label maps of the fixed and the moving scan to score with and to warp.

    Raises:
        DataError: with every file that is missing, damaged, not 3-D, or on another grid than its scan.
    """
    faults: list[str] = []

    def read(path: Path | None, kind: Any) -> Volume | None:
        try:
            return None if path is None else canonical(read_stored(path), path, kind)
        except DataError as error:
            faults.extend(error.faults)
            return None

    fixed_scan, moving_scan = read(fixed, "scan"), read(moving, "scan")
    maps = [read(path, "labels") for path in (*masks, *labels)]
    if faults or fixed_scan is None or moving_scan is None:
        raise DataError(faults)
    return OwnScans(fixed_scan, moving_scan, *maps)


def label_type(path: Path) -> np.dtype[Any]:
    """The type that a label map is stored in, if that is an integer; else unsigned 8 bit."""
    stored = read_stored(path).array.dtype
    return stored if stored.kind in "iu" else np.dtype(np.uint8)


def write_like(path: Path, volume: Volume, like: Stored, kind: np.dtype[Any]) -> None:
    """Write a volume with the storage order, the affines and their codes of another file, atomically.

    Args:
        path: NIfTI file, compressed where the name ends in .gz.
        volume: on the canonical grid of that file.
        like: that file.
        kind: the type to store.

    Raises:
        StorageError: where it cannot be written.
        DataError: where the volume has another shape.
    """
    array = turn_array(volume.data.numpy(), inverse(turn_of(like.affine))).astype(kind)
    if array.shape != like.array.shape:
        raise DataError([f"{path.name} would have {array.shape} voxels, but its scan has {like.array.shape}."])
    write_bytes(path, _bytes(array, like, path.name))


def _bytes(array: Array, like: Stored, name: str) -> bytes:
    if not isinstance(like.header, _nibabel.Nifti1Header):
        return nifti_bytes(array, like.affine, name)
    image_type = _nibabel.Nifti2Image if isinstance(like.header, _nibabel.Nifti2Header) else _nibabel.Nifti1Image
    header = like.header.copy()
    header.set_data_dtype(array.dtype)
    header.set_intent("none")
    header["cal_min"], header["cal_max"], header["descrip"] = 0, 0, b""
    header.extensions.clear()
    image = image_type(array, None, header)
    image.header.set_slope_inter(1, 0)
    content: bytes = image.to_bytes()
    return deflated(content) if name.endswith(".gz") else content
