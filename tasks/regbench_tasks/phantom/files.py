"""Writing a cohort: NIfTI files, landmark tables; the same content gives the same bytes."""

import gzip
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int16, UInt8

from regbench.api import Grid

COMPRESSION = 1

_nibabel: Any = import_module("nibabel")  # it comes without annotations


def write_nifti(path: Path, data: Int16[np.ndarray, "i j k"] | UInt8[np.ndarray, "i j k"], grid: Grid) -> None:
    """Write a gzipped NIfTI file in millimetres, without a time stamp."""
    image = _nibabel.Nifti1Image(data, grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(grid.affine, code=1)
    image.set_sform(grid.affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0))


def write_landmarks(path: Path, points: Mapping[str, Float[np.ndarray, "3"]]) -> None:
    """Write named points, millimetres in RAS+, as a CSV file with the columns name, x, y, z."""
    lines = ["name,x,y,z", *(f"{name},{x:.4f},{y:.4f},{z:.4f}" for name, (x, y, z) in points.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def inside(points: Float[np.ndarray, "n 3"], grid: Grid) -> np.ndarray:
    """Which points lie between the grid's outermost voxel centres."""
    index = grid.to_index(points)
    within: np.ndarray = np.all((index >= 0) & (index <= np.array(grid.shape) - 1), axis=1)
    return within
