"""Displacement fields as ITK keeps them: in millimetres, so that ANTs, 3D Slicer and SimpleITK apply them as they are.

A file holds (i, j, k, 1, 3) float32 with the intent code of a vector (1007). The vector at a voxel leads from its
place in the world to the place where the moving scan is looked up; its axes are those of the world as DICOM has them,
LPS+: left, posterior, superior. NIfTI's affine is in RAS+ all the same, and ITK turns that around when it reads it.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from regbench.api import Field, Grid
from regbench.data.files.atomic import write_bytes
from regbench.data.files.nifti import nifti_bytes

_LPS = np.array([-1.0, -1.0, 1.0])


def write_itk_field(path: Path, field: Field, moving: Grid | None = None) -> None:
    """Write a displacement field as ITK reads it, atomically.

    Args:
        path: NIfTI file, compressed where the name ends in .gz.
        field: on the fixed grid, in voxels.
        moving: the grid whose voxel x + u(x) is moved to the fixed voxel x; None: it lies where the fixed grid does.

    Raises:
        StorageError: where it cannot be written.
    """
    vectors = _world_displacement(field, moving or field.grid) * _LPS
    array = np.ascontiguousarray(vectors[:, :, :, None, :], dtype=np.float32)
    write_bytes(path, nifti_bytes(array, field.grid.affine, path.name, "vector"))


def _world_displacement(field: Field, moving: Grid) -> Float[np.ndarray, "i j k 3"]:
    """From the place of a voxel of the fixed grid to where it is looked up, in millimetres in RAS+."""
    fixed = field.grid
    u = np.moveaxis(field.displacement.detach().cpu().double().numpy(), 0, -1)
    world: Float[np.ndarray, "i j k 3"] = u @ moving.affine[:3, :3].T + (moving.affine - fixed.affine)[:3, 3]
    apart = (moving.affine - fixed.affine)[:3, :3]
    for axis, count in enumerate(fixed.shape):
        shape = [1, 1, 1, 3]
        shape[axis] = count
        world += (np.arange(count)[:, None] * apart[:, axis]).reshape(shape)
    return world
