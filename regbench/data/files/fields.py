"""Displacement fields on disk, in the layout of Learn2Reg.

A file holds (i, j, k, 3) float32: component c is the displacement along array axis c in voxels, on the fixed grid, and
pulls back. Axes are those of the fixed image *file*; where that is not stored in RAS+ order, pass it as `like`.
"""

from pathlib import Path

import numpy as np
import torch

from regbench.api import Field, Grid
from regbench.data.files.atomic import write_bytes
from regbench.data.files.nifti import Stored, nifti_bytes, read_stored
from regbench.data.files.orientation import Array, inverse, turn_affine, turn_array, turn_of, turn_vectors
from regbench.errors import DataError

_ITK_VECTOR = 1007


def read_field(path: Path, like: Path | None = None) -> Field:
    """A displacement field, brought to the storage order closest to RAS+.

    Args:
        path: NIfTI file of shape (i, j, k, 3).
        like: the fixed image's file, whose storage order and affine the field has; by default the field's own header.

    Raises:
        DataError: for a file that is missing, damaged, of another layout, or not finite.
    """
    stored = read_stored(path)
    _check_layout(stored, path)
    affine = stored.affine
    if like is not None:
        image = read_stored(like)
        if image.array.shape[:3] != stored.array.shape[:3]:
            raise DataError(
                [f"{path} is a field on {stored.array.shape[:3]} voxels, but {like} has {image.array.shape[:3]}."]
            )
        affine = image.affine
    field, affine = _turned(stored.array.astype(np.float32), affine, turn_of(affine))
    i, j, k = field.shape[:3]
    displacement = torch.from_numpy(np.ascontiguousarray(np.moveaxis(field, -1, 0)))
    return Field(displacement, Grid((i, j, k), affine))


def write_field(path: Path, field: Field, like: Path | None = None) -> None:
    """Write a displacement field, atomically.

    Args:
        path: where to.
        field: on the fixed grid.
        like: the fixed image's file, to whose storage order the field is turned; by default the field's own order.

    Raises:
        StorageError: where it cannot be written.
        DataError: where `like` has another shape.
    """
    array = np.moveaxis(field.displacement.detach().cpu().float().numpy(), 0, -1)
    affine = field.grid.affine
    if like is not None:
        image = read_stored(like)
        array, affine = _turned(array, affine, inverse(turn_of(image.affine)))
        if array.shape[:3] != image.array.shape[:3]:
            raise DataError([f"{like} has {image.array.shape[:3]} voxels; the field has {array.shape[:3]}."])
    write_bytes(path, nifti_bytes(np.ascontiguousarray(array), affine, path.name))


def _turned(array: Array, affine: Array, turn: Array) -> tuple[Array, Array]:
    """A field with its axes flipped and transposed, and its components with them."""
    return turn_vectors(turn_array(array, turn), turn), turn_affine(affine, turn, array.shape)


def _check_layout(stored: Stored, path: Path) -> None:
    shape = stored.array.shape
    if len(shape) == 5 and int(stored.header["intent_code"]) == _ITK_VECTOR:
        raise DataError([f"{path} is a field as ITK writes it (millimetres, LPS+); expected Learn2Reg's (i, j, k, 3)."])
    if len(shape) != 4 or shape[3] != 3:
        raise DataError([f"{path} has shape {shape}; a displacement field has shape (i, j, k, 3), in voxels."])
    if not np.isfinite(stored.array).all():
        raise DataError([f"{path} holds values that are not finite; a displacement has to be a number everywhere."])
