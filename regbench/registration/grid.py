"""The grid that a pair of anybody's scans is registered on, and how two scans lie to each other in the world."""

from math import prod

import numpy as np
import numpy.typing as npt

from regbench.api import Crop, Grid, Squeeze
from regbench.spatial.precision import HAIR

MOST_VOXELS = 2**21
"""Of a grid that no protocol prescribes: what a laptop registers in minutes."""
FEWEST = 8
"""Voxels along an axis of such a grid, where the scan has as many."""
_LATTICE = 9

GridRule = Squeeze | Crop


def network_grid(fixed: Grid, rule: GridRule | None, most_voxels: int = MOST_VOXELS) -> Grid:
    """The grid to register on.

    Args:
        fixed: the fixed scan's.
        rule: of a protocol; None: the fixed scan's own field of view at its own spacing, or at the finest spacing, the
            same along all axes but for those that are coarser by themselves, with at most so many voxels.
        most_voxels: where there is no rule.
    """
    if rule is not None:
        return rule.target(fixed)
    if prod(fixed.shape) <= most_voxels:
        return fixed
    low, high = min(fixed.spacing_mm), max(_extent_mm(fixed))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if prod(_shape_at(fixed, middle)) <= most_voxels else (middle, high)
    return Squeeze(shape=_shape_at(fixed, high)).target(fixed)


def _shape_at(grid: Grid, spacing_mm: float) -> tuple[int, int, int]:
    """As many voxels as the field of view takes at a spacing, but no more than the scan has."""
    i, j, k = (
        min(n, max(FEWEST, round(n * own / max(own, spacing_mm))))
        for n, own in zip(grid.shape, grid.spacing_mm, strict=True)
    )
    return i, j, k


def _extent_mm(grid: Grid) -> list[float]:
    return [n * spacing for n, spacing in zip(grid.shape, grid.spacing_mm, strict=True)]


def moved_by(grid: Grid, shift_mm: npt.NDArray[np.float64]) -> Grid:
    """The same grid somewhere else in the world."""
    affine = grid.affine.copy()
    affine[:3, 3] += shift_mm
    return Grid(grid.shape, affine)


def centring_shift_mm(fixed: Grid, moving: Grid) -> npt.NDArray[np.float64]:
    """(3,) what brings the moving scan's centre to the fixed scan's if their fields of view do not meet; else zeros."""
    if shared_share(fixed, moving) > 0 or shared_share(moving, fixed) > 0:
        return np.zeros(3)
    return _centre(fixed) - _centre(moving)


def shared_share(grid: Grid, other: Grid) -> float:
    """The share of a grid's field of view that lies within the other's, from 0 to 1, by a lattice of points."""
    axes = [np.linspace(-0.5, n - 0.5, _LATTICE) for n in grid.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    index = other.to_index(grid.to_world(points))
    inside = ((index >= -0.5 - HAIR) & (index <= np.array(other.shape) - 0.5 + HAIR)).all(1)
    return float(inside.mean())


def same_directions(a: Grid, b: Grid) -> bool:
    """Whether the axes of both grids point the same ways, so closely that it cannot be told at the far ends."""
    turn = np.linalg.inv(a.affine[:3, :3]) @ b.affine[:3, :3]
    return bool(np.abs(turn - np.diag(np.diag(turn))).max() * max(b.shape) < 1e-3 and np.diag(turn).min() > 0)


def _centre(grid: Grid) -> npt.NDArray[np.float64]:
    middle = (np.array(grid.shape) - 1) / 2
    centre: npt.NDArray[np.float64] = grid.to_world(middle[None])[0]
    return centre
