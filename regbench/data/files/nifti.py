"""NIfTI files to volumes and back.

Every volume is brought to the storage order closest to RAS+ by flips and transpositions of its axes, without any
interpolation: the affine goes with it, oblique parts included, so each voxel stays where it was in the world.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import torch

from regbench.api import Grid, Volume
from regbench.data.files.atomic import write_bytes
from regbench.data.files.inflate import deflated, read_inflated
from regbench.data.files.orientation import Array, turn_affine, turn_array, turn_of
from regbench.errors import DataError

Kind = Literal["scan", "labels"]

_nibabel: Any = nib
_ROUNDING = 1e-4
_SILENT = logging.Logger("headers", logging.CRITICAL + 1)  # what nibabel says of one goes into our sentence


@dataclass(frozen=True, eq=False)
class Stored:
    """An image as its file has it.

    Attributes:
        array: in storage order, scaled by the header's slope and intercept, trailing axes of length 1 dropped.
        affine: (4, 4) float64 of that storage order.
        header: nibabel's header.
    """

    array: Array
    affine: Array
    header: Any


def read_stored(path: Path) -> Stored:
    """An image in its storage order.

    NIfTI-1 and NIfTI-2 in one file, compressed or not, are inflated in one go and viewed; whatever else nibabel
    knows is read by nibabel.

    Raises:
        DataError: for a file that is missing, damaged, or no image.
    """
    try:
        if not path.name.endswith((".nii", ".nii.gz")):
            return _read_other(path)
        return _view(read_inflated(path), path)
    except DataError:
        raise
    except Exception as error:  # a damaged header makes the reader stumble in more ways than it has exceptions for
        raise DataError([f"{path} is no readable image: {error}; expected a NIfTI file."]) from error


def read_volume(path: Path, kind: Kind = "scan") -> Volume:
    """A scan or a label map in the storage order closest to RAS+.

    Args:
        path: NIfTI file, any orientation.
        kind: "scan": float32; "labels": unsigned 8 bit, and every value has to be an integer from 0 to 255.

    Raises:
        DataError: for a file that is missing, damaged, not 3-D, without a usable affine, or of other values.
    """
    return canonical(read_stored(path), path, kind)


def canonical(stored: Stored, path: Path, kind: Kind) -> Volume:
    """A stored image as a volume in the order closest to RAS+; see `read_volume`."""
    if stored.array.ndim != 3 or not stored.array.size:
        hint = "; take one frame out of it" if stored.array.ndim > 3 else ""
        raise DataError([f"{path} has shape {stored.array.shape}; expected three axes of voxels{hint}."])
    if not np.isfinite(stored.affine).all() or abs(np.linalg.det(stored.affine[:3, :3])) < 1e-9:
        raise DataError([f"{path} has an affine that cannot be inverted; write its orientation and spacing anew."])
    turn = turn_of(stored.affine)
    if kind == "labels":
        turned = _in_c_order(turn_array(as_labels(stored.array, path), turn), np.dtype(np.uint8))
    else:
        turned = _in_c_order(turn_array(real_numbers(stored.array, path), turn), np.dtype(np.float32))
    affine = turn_affine(stored.affine, turn, stored.array.shape)
    i, j, k = turned.shape
    return Volume(torch.from_numpy(turned), Grid((i, j, k), affine))


def real_numbers(array: Array, path: Path) -> Array:
    """The array itself, if it holds one real number a voxel."""
    if array.dtype.kind not in "iufb":
        raise DataError([f"{path} holds {array.dtype} values; expected one real number a voxel."])
    return array


def as_labels(array: Array, path: Path) -> Array:
    """Label numbers, in a type that unsigned 8 bit holds; what the scaling of a header rounds is put right."""
    if real_numbers(array, path).dtype in (np.uint8, np.bool_):
        return array
    rounded = np.rint(array) if array.dtype.kind == "f" else array
    with np.errstate(invalid="ignore"):  # infinity minus infinity; that does not fit either
        fits = (rounded >= 0) & (rounded <= 255) & (np.abs(array - rounded) <= _ROUNDING)
    if not fits.all():
        wrong = array[~fits]
        raise DataError(
            [
                f"{path} holds {wrong.size} values that are no label numbers, such as {wrong[0]:g}; "
                "expected integers from 0 to 255."
            ]
        )
    return rounded.astype(np.uint8)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI-1, atomically; compressed where the name ends in .gz, the same bytes for the same volume.

    Args:
        path: where to.
        volume: its data type is kept; floating point or an integer of at most 32 bits.

    Raises:
        StorageError: where it cannot be written.
    """
    write_bytes(path, nifti_bytes(volume.data.detach().cpu().numpy(), volume.grid.affine, path.name))


def nifti_bytes(array: Array, affine: Array, name: str, intent: str = "none") -> bytes:
    """A NIfTI-1 file in memory; compressed where its name ends in .gz, without a time stamp.

    Args:
        array: in storage order.
        affine: of that order.
        name: the file's.
        intent: what the values are, as nibabel calls it.
    """
    image = _nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    content: bytes = image.to_bytes()
    return deflated(content) if name.endswith(".gz") else content


def _in_c_order(array: Array, dtype: np.dtype[Any]) -> Array:
    """A copy with the last axis contiguous; plane by plane, by way of a buffer that fits the cache.

    Without it numpy walks with strides of whole planes, which fall on the same few lines of the cache.
    """
    copy, buffer = np.empty(array.shape, dtype), np.empty((array.shape[2], array.shape[0]), dtype)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the check tells
        for plane in range(array.shape[1]):
            buffer[...] = array[:, plane].T
            copy[:, plane] = buffer.T
    return copy


def _view(content: bytes, path: Path) -> Stored:
    if len(content) < _nibabel.Nifti1Header.sizeof_hdr:
        raise DataError([f"{path} holds {len(content)} bytes, too few for a NIfTI file; copy or download it again."])
    header = _header(content, path)
    shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), header.get_data_offset()
    if offset < header.sizeof_hdr:
        raise DataError([f"{path} is damaged: its voxels would begin at byte {offset}, in its header; copy it again."])
    needed = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) < needed:
        raise DataError([f"{path} is truncated: {len(content)} bytes, its header promises {needed}; copy it again."])
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(content, dtype, count, offset).reshape(shape, order="F")
    return _stored(_scaled(array, *header.get_slope_inter()), header.get_best_affine(), header)


def _header(content: bytes, path: Path) -> Any:
    nifti2 = _nibabel.Nifti2Header.may_contain_header(content[:540])
    kind = _nibabel.Nifti2Header if nifti2 else _nibabel.Nifti1Header
    header = kind(content[: kind.sizeof_hdr], check=False)  # without its extensions, which nobody needs
    if header["sform_code"] == 0 and not header["pixdim"][1:4].all():  # nibabel would take 1 mm instead
        raise DataError([f"{path} does not say how large its voxels are: a spacing is 0; write its header anew."])
    header.check_fix(_SILENT)
    return header


def _read_other(path: Path) -> Stored:
    if not path.is_file():
        raise DataError([f"{path} is missing; check its name, or restore it."])
    image = _nibabel.load(path)
    return _stored(np.asanyarray(image.dataobj), image.affine, image.header)


def _stored(array: Array, affine: Array, header: Any) -> Stored:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return Stored(array, np.asarray(affine, dtype=np.float64), header)


def _scaled(array: Array, slope: float | None, intercept: float | None) -> Array:
    """The values that the header means; untouched where it means the stored ones."""
    slope = 1.0 if slope is None else slope
    intercept = 0.0 if intercept is None else intercept
    if (slope, intercept) == (1.0, 0.0):
        return array
    return array * np.float64(slope) + np.float64(intercept)
