"""A displacement beyond the grid that it was found on: nothing is known there, so it goes smoothly to zero."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regbench.api import Field, Grid
from regbench.spatial.precision import HAIR, at_least_float32

FADING = 4.0
"""How far a displacement fades out, as a multiple of the longest one at the grid's border."""
_ROUNDS = 24  # of smoothing: what is fine across the border dies within a few voxels


def faded(field: Field, target: Grid) -> Field:
    """A field with its displacement carried on beyond its grid, as far as another grid reaches, and going to zero.

    On its own grid it stays as it is. Beyond, it falls over four times the longest displacement at the border, so that
    the fall itself folds nothing, and is smoothed, so that no pattern of the border is drawn out into bands.

    Args:
        field: the displacement and its grid.
        target: the grid that it is wanted on; where the field's own covers it, the field comes back as it is.
    """
    excess = _excess(field.grid, target)
    reach_mm = FADING * _longest_at_border_mm(field)
    if reach_mm == 0 or not excess.any():
        return field
    spacing = np.array(field.grid.spacing_mm)
    before, after = (np.minimum(np.ceil(reach_mm / spacing), side).astype(int).tolist() for side in excess)
    affine = field.grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.array(before, dtype=float)
    i, j, k = (n + a + b for n, a, b in zip(field.grid.shape, before, after, strict=True))
    (u,) = at_least_float32(field.displacement)
    margins = [margin for sides in zip(reversed(before), reversed(after), strict=True) for margin in sides]
    around = F.pad(u[None], margins, mode="replicate")[0]
    weight = _weight((i, j, k), before, field.grid, reach_mm).to(u)
    own = (slice(None), *(slice(a, a + n) for a, n in zip(before, field.grid.shape, strict=True)))
    around = around * weight
    for _ in range(_ROUNDS):
        around[own] = u
        around = F.avg_pool3d(F.pad(around[None], (1,) * 6, mode="replicate"), 3, stride=1)[0] * (weight > 0)
    around[own] = u
    return Field(around, Grid((i, j, k), affine))


def _excess(grid: Grid, target: Grid) -> Float[np.ndarray, "2 3"]:
    """Whole voxels by which a target's centres reach out of a grid's field of view, before and after each axis."""
    corners = np.array(np.meshgrid(*((0, n - 1) for n in target.shape), indexing="ij")).reshape(3, -1).T
    index = grid.to_index(target.to_world(corners.astype(float)))
    beyond = np.stack([-0.5 - index.min(0), index.max(0) - (np.array(grid.shape) - 0.5)])
    return np.where(beyond > HAIR, np.ceil(beyond) + 1, 0)


def _longest_at_border_mm(field: Field) -> float:
    u, to_mm = field.displacement, torch.as_tensor(field.grid.affine[:3, :3])
    faces = [u.select(axis, place).flatten(1).detach().double().cpu() for axis in (1, 2, 3) for place in (0, -1)]
    return max(float((to_mm @ face).norm(dim=0).max()) for face in faces)


def _weight(shape: tuple[int, int, int], before: list[int], grid: Grid, reach_mm: float) -> Float[Tensor, "i j k"]:
    """1 on the grid, and from there to 0 at the reach, without a kink."""
    distances = []
    for size, first, own, spacing in zip(shape, before, grid.shape, grid.spacing_mm, strict=True):
        place = torch.arange(size, dtype=torch.float64) - first
        distances.append(spacing * torch.clamp(torch.maximum(-place, place - (own - 1)), min=0))
    a, b, c = distances
    squared = a[:, None, None] ** 2 + b[:, None] ** 2 + c**2
    part = (1 - squared.sqrt() / reach_mm).clamp(min=0)
    return part * part * (3 - 2 * part)
