"""From one grid to another through their affines."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from regbench.api import Field, Grid
from regbench.errors import BadValueError
from regbench.spatial.precision import at_least_float32
from regbench.spatial.warping import Mode, sample

EDGE = 0.5
"""A voxel reaches half its size beyond its centre."""


def resample(
    data: Shaped[Tensor, "i j k"], source: Grid, target: Grid, mode: Mode = "linear"
) -> Shaped[Tensor, "x y z"]:
    """A volume on another grid, through the affines of both; zero outside the source's field of view.

    The field of view ends half a voxel beyond the outermost voxel centres; there the outermost value is taken.

    Args:
        data: (i, j, k) on the source grid.
        source: where the data lie.
        target: where they are wanted.
        mode: "linear" (trilinear, floating point), or "nearest" (keeps the type; for label maps).

    Raises:
        BadValueError: for data that do not fit the source grid.
    """
    if tuple(data.shape) != source.shape:
        raise BadValueError(f"Data of shape {tuple(data.shape)} do not lie on a source grid of {source.shape}.")
    if mode == "linear":
        (data,) = at_least_float32(data)
    last = torch.tensor(source.shape, device=data.device) - 1
    slabs = []
    for points in _slabs(source, target, data.device):
        seen = ((points >= -EDGE) & (points <= last + EDGE)).all(1)
        within = points.clamp(min=torch.zeros_like(last), max=last)
        if mode == "linear":
            values = sample(data[None, None], within.to(data.dtype)[None])[0, 0]
        else:
            i, j, k = (within + 0.5).floor().long().clamp(max=last).unbind(1)
            values = data[i, j, k]
        slabs.append(torch.where(seen, values, values.new_zeros(())))
    return torch.cat(slabs).view(target.shape)


def resample_displacement(field: Field, target: Grid) -> Field:
    """The same physical displacement on another grid, in voxels of that grid.

    Beyond the field's own grid its outermost displacement goes on, so that no fold arises at its border.

    Args:
        field: the displacement and its grid.
        target: the new grid.
    """
    (u,) = at_least_float32(field.displacement)
    last = torch.tensor(field.grid.shape, device=u.device) - 1
    slabs = [
        sample(u[None], points.clamp(min=torch.zeros_like(last), max=last).to(u.dtype)[None])[0]
        for points in _slabs(field.grid, target, u.device)
    ]
    turn = np.linalg.inv(target.affine[:3, :3]) @ field.grid.affine[:3, :3]
    displacement = torch.as_tensor(turn, dtype=u.dtype, device=u.device) @ torch.cat(slabs, 1)
    return Field(displacement.view(3, *target.shape), target)


def _slabs(source: Grid, target: Grid, device: torch.device) -> Iterator[Float[Tensor, "n 3"]]:
    """The target's voxels as source indices in float64, one plane along i at a time."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    to_source = torch.as_tensor(matrix, dtype=torch.float64, device=device)
    j, k = (torch.arange(n, device=device, dtype=torch.float64) for n in target.shape[1:])
    plane = j[:, None, None] * to_source[:3, 1] + k[:, None] * to_source[:3, 2] + to_source[:3, 3]
    for i in range(target.shape[0]):
        yield (plane + i * to_source[:3, 0]).view(-1, 3)
