"""From one grid to another through their affines."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from regbench.api import Field, Grid
from regbench.errors import BadValueError
from regbench.spatial.continuation import faded
from regbench.spatial.precision import HAIR, at_least_float32
from regbench.spatial.warping import Mode, interpolate


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
    if mode == "nearest":
        return _nearest(data, source, target)
    (data,) = at_least_float32(data)
    points, seen = _points(source, target, data)
    return interpolate(data[None, None], points[None], relative=False)[0, 0] * seen


def resample_displacement(field: Field, target: Grid) -> Field:
    """The same physical displacement on another grid, in voxels of that grid.

    Beyond the field's own grid it goes smoothly to zero; see `regbench.spatial.faded`.

    Args:
        field: the displacement and its grid.
        target: the new grid.
    """
    field = faded(field, target)
    (u,) = at_least_float32(field.displacement)
    points, _ = _points(field.grid, target, u)
    values = interpolate(u[None], points[None], relative=False)[0]
    turn = np.linalg.inv(target.affine[:3, :3]) @ field.grid.affine[:3, :3]
    i, j, k = values
    rows = [a * i + b * j + c * k for a, b, c in turn.tolist()]  # a matrix product would be bfloat16 under autocast
    return Field(torch.stack(rows), target)


def _nearest(data: Tensor, source: Grid, target: Grid) -> Tensor:
    last = torch.tensor(source.shape, device=data.device) - 1
    out = data.new_empty(target.shape)
    for plane, points in enumerate(_planes(source, target, data.device)):
        i, j, k = (points + 0.5).floor().long().clamp(min=torch.zeros_like(last), max=last).unbind(2)
        out[plane] = data[i, j, k] * _seen(points, source)
    return out


def _points(source: Grid, target: Grid, like: Tensor) -> tuple[Float[Tensor, "3 x y z"], Bool[Tensor, "x y z"]]:
    """The target's voxels as source indices brought within the outermost centres, and which the source has seen."""
    points = like.new_empty(3, *target.shape)
    seen = torch.empty(target.shape, dtype=torch.bool, device=like.device)
    last = torch.tensor(source.shape, device=like.device) - 1
    for number, plane in enumerate(_planes(source, target, like.device)):
        seen[number] = _seen(plane, source)
        points[:, number] = plane.clamp(min=torch.zeros_like(last), max=last).permute(2, 0, 1)
    return points, seen


def _seen(points: Float[Tensor, "y z 3"], source: Grid) -> Bool[Tensor, "y z"]:
    """Whether points lie in the field of view: a hair more than half a voxel from the outermost centres is out."""
    edge = torch.tensor(source.shape, device=points.device) - 0.5
    return ((points >= -0.5 - HAIR) & (points <= edge + HAIR)).all(2)


def _planes(source: Grid, target: Grid, device: torch.device) -> Iterator[Float[Tensor, "y z 3"]]:
    """The target's voxels as source indices in float64, one plane along i at a time."""
    to_source = torch.as_tensor(np.linalg.inv(source.affine) @ target.affine, dtype=torch.float64, device=device)
    j, k = (torch.arange(n, device=device, dtype=torch.float64) for n in target.shape[1:])
    plane = j[:, None, None] * to_source[:3, 1] + k[:, None] * to_source[:3, 2] + to_source[:3, 3]
    for i in range(target.shape[0]):
        yield plane + i * to_source[:3, 0]
