"""Files of anybody's scans, and results with exactly the geometry of the fixed scan's file."""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from regbench.api import Volume
from regbench.data.files.atomic import write_bytes
from regbench.data.files.inflate import deflated
from regbench.data.files.nifti import Stored, canonical, nifti_bytes, read_stored
from regbench.data.files.orientation import Array, inverse, turn_array, turn_of
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
    notes: list[str] = []

    def read(path: Path | None, kind: Any) -> Volume | None:
        if path is None:
            return None
        try:
            _check_no_folder(path)
            stored = read_stored(path)
            notes.extend(_doubts(stored, path))
            return canonical(stored, path, kind)
        except DataError as error:
            faults.extend(error.faults)
            return None

    fixed_scan, moving_scan = read(fixed, "scan"), read(moving, "scan")
    fixed_mask, moving_mask, fixed_labels, moving_labels = (read(path, "labels") for path in (*masks, *labels))
    if faults or fixed_scan is None or moving_scan is None:
        raise DataError(faults)
    if torch.equal(fixed_scan.data, moving_scan.data):
        notes.append("Both scans hold the same values, voxel for voxel: was one file named twice?")
    for name, scan in (("fixed", fixed_scan), ("moving", moving_scan)):
        if scan.data.min() == scan.data.max():
            notes.append(
                f"The {name} scan holds one value everywhere, to which nothing can be aligned: is it the right one?"
            )
    return OwnScans(fixed_scan, moving_scan, fixed_mask, moving_mask, fixed_labels, moving_labels, tuple(notes))


def _check_no_folder(path: Path) -> None:
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where it may not look; the reader puts that in words
        raise DataError([f"{path} is a folder; expected a NIfTI file, such as dcm2niix makes of a DICOM series."])


def _doubts(stored: Stored, path: Path) -> list[str]:
    """What has to be known of a file that nibabel and ITK do not take to lie at one place."""
    header = stored.header
    if not isinstance(header, _nibabel.Nifti1Header):
        return []
    sform, qform = header["sform_code"] > 0, header["qform_code"] > 0
    if not sform and not qform:
        return [
            f"{path.name} does not say where it lies (its sform and qform codes are 0): its axes are taken to point to "
            "the left, front and head, which other programs need not do; write its affine anew if that is wrong."
        ]
    apart_mm = _apart_mm(header) if sform and qform else 0.0
    if apart_mm <= min(header.get_zooms()[:3]) / 2:
        return []
    return [
        f"{path.name} lies at two places, up to {apart_mm:.0f} mm apart: by its sform, which is taken, and by its "
        "qform, which ITK may take, and then misplaces what comes out; write both anew."
    ]


def _apart_mm(header: Any) -> float:
    """By how much the sform and the qform disagree at the corner where they do most."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(header.get_data_shape()[:3]) - 1)
    try:
        forms = header.get_sform(), header.get_qform()
    except ValueError:  # a quaternion that turns nothing, by which nobody can go
        return 0.0
    sform, qform = (_nibabel.affines.apply_affine(form, corners) for form in forms)
    return float(np.linalg.norm(sform - qform, axis=1).max())


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
