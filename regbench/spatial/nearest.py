"""The nearest voxel, decided as `scipy.ndimage.map_coordinates` decides it."""

import torch
from torch import Tensor

from regbench.spatial.blocks import plane_blocks


def nearest(image: Tensor, u: Tensor) -> Tensor:
    """The voxels of an image (b, c, i, j, k) nearest to x + u(x), u (b, 3, x, y, z); 0 outside its centres."""
    flat = image.flatten(2)
    out = image.new_empty(*image.shape[:2], *u.shape[2:])
    axes = [torch.arange(n, dtype=torch.float64, device=u.device) for n in u.shape[2:]]
    for planes in plane_blocks(u.shape[2:], u.device):
        places = axes[0][planes, None, None], axes[1][:, None], axes[2]
        for item in range(u.shape[0]):
            index, inside = _voxels(u[item, :, planes], places, image.shape[2:])
            for channel in range(image.shape[1]):
                values = flat[item, channel].index_select(0, index.view(-1)).view(index.shape)
                out[item, channel, planes] = values.mul_(inside)
    return out


def _voxels(u: Tensor, places: tuple[Tensor, Tensor, Tensor], size: torch.Size) -> tuple[Tensor, Tensor]:
    """Flat indices of the nearest voxels, 0 where a point lies outside, and which points lie inside."""
    index = torch.zeros(u.shape[1:], dtype=torch.float64, device=u.device)
    inside = torch.ones(u.shape[1:], dtype=torch.bool, device=u.device)
    for displacement, place, n in zip(u, places, size, strict=True):
        point = displacement + place  # in float64: the place is
        inside &= (point >= 0) & (point <= n - 1)
        index.mul_(n).add_(point.add_(0.5).floor_())
    return torch.where(inside, index, 0).long(), inside
