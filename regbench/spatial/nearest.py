"""The nearest voxel, decided as `scipy.ndimage.map_coordinates` decides it in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regbench.spatial.blocks import EXACT_IN_FLOAT32, plane_blocks


@dataclass(frozen=True)
class _Axis:
    """An axis of the image as the points along it see it.

    Attributes:
        size: the image's voxels along it.
        place: where the points' own grid lies; broadcasts over a block (x, y, z).
        room: the greatest float32 displacement that stays within the outermost centres.
    """

    size: int
    place: Tensor
    room: Tensor

    def within(self, planes: slice) -> "_Axis":
        """The same for a block of planes."""
        if self.place.dim() < 3:
            return self
        return _Axis(self.size, self.place[planes], self.room[planes])


def nearest(image: Tensor, u: Tensor) -> Tensor:
    """The voxels of an image (b, c, i, j, k) nearest to x + u(x), u (b, 3, x, y, z); 0 outside its centres."""
    flat = image.flatten(2)
    out = image.new_empty(*image.shape[:2], *u.shape[2:])
    decide = _decide_in_float64 if u.dtype == torch.float64 else _decide_in_float32
    axes = _axes(image.shape[2:], u)
    for planes in plane_blocks(u.shape[2:], u.device):
        block = [axis.within(planes) for axis in axes]
        for item in range(u.shape[0]):
            index, inside = _voxels(u[item, :, planes], block, decide)
            for channel in range(image.shape[1]):
                values = flat[item, channel].index_select(0, index.flatten())
                torch.mul(values.view(index.shape), inside, out=out[item, channel, planes])
    return out


def _axes(size: torch.Size, u: Tensor) -> list[_Axis]:
    axes = []
    for axis, n in enumerate(size):
        place = torch.arange(u.shape[axis + 2], device=u.device, dtype=torch.promote_types(u.dtype, torch.float32))
        # place + u is exact in float64 but for a u too small to count: that is rounded away, which matters at the end.
        room = torch.where(place == n - 1, math.ulp(n - 1) / 2 if n > 1 else 0.0, n - 1 - place)
        shape = [-1, 1, 1][: 3 - axis]
        axes.append(_Axis(n, place.view(shape), room.view(shape)))
    return axes


def _voxels(
    u: Tensor, axes: list[_Axis], decide: Callable[[Tensor, _Axis], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Flat indices of the nearest voxels, 0 for points outside, and which points lie inside."""
    index, slack = decide(u[0], axes[0])
    if math.prod(axis.size for axis in axes) >= EXACT_IN_FLOAT32:
        index = index.double()
    for displacement, axis in zip(u[1:], axes[1:], strict=True):
        voxel, room = decide(displacement, axis)
        index = index.mul_(axis.size).add_(voxel)
        slack = torch.minimum(slack, room, out=slack)
    inside = slack >= 0  # one comparison for all: they cost more than arithmetic
    return index.masked_fill_(~inside, 0).int().long(), inside


def _decide_in_float64(u: Tensor, axis: _Axis) -> tuple[Tensor, Tensor]:
    """The nearest voxels along an axis, and how far points lie between its ends: negative outside."""
    point = u + axis.place
    slack = torch.minimum(point, axis.size - 1 - point)
    return point.add_(0.5).floor_(), slack


def _decide_in_float32(u: Tensor, axis: _Axis) -> tuple[Tensor, Tensor]:
    """The same decisions from signs and roundings that are exact in float32."""
    u = u.float()
    slack = axis.room - u
    slack = torch.minimum(slack, u + axis.place, out=slack)
    voxel = (u * 2).floor_().mul_(0.5).ceil_()  # u + 1/2 would be rounded: 0.49999997 + 0.5 is 1
    return voxel.add_(axis.place), slack
