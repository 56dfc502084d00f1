"""Pulling images and label maps back through a displacement field."""

from typing import Literal

import torch
from jaxtyping import Float, Int, Num, Shaped, UInt8
from torch import Tensor

from regbench.spatial.precision import at_least_float32

Mode = Literal["linear", "nearest"]


def warp(
    image: Num[Tensor, "b c i j k"], u: Float[Tensor, "b 3 x y z"], mode: Mode = "linear"
) -> Num[Tensor, "b c x y z"]:
    """The image pulled back through a displacement: out(x) = image(x + u(x)), zero outside.

    Args:
        image: (b, c, i, j, k).
        u: (b, 3, x, y, z) displacement in voxels; the output lies on its grid.
        mode: "linear" interpolates between the eight neighbours, those outside the image counting as zero, and is
            differentiable in the image and in u; "nearest" takes the nearest voxel where x + u(x) lies within the
            voxel centres of the image, keeps the image's type, and has no gradient for u.
    """
    if mode == "nearest":
        return _nearest(image, u)
    image, u = at_least_float32(image, u)
    points = _positions(u.shape[2:], u) + u
    return sample(image, points.flatten(2).transpose(1, 2)).unflatten(2, u.shape[2:])


def warp_labels(labels: UInt8[Tensor, "i j k"], u: Float[Tensor, "3 x y z"]) -> UInt8[Tensor, "x y z"]:
    """A label map pulled back by the nearest voxel, exactly as `scipy.ndimage.map_coordinates(order=0)` in float64.

    Args:
        labels: (i, j, k).
        u: (3, x, y, z) displacement in voxels. A point outside the voxel centres of the labels becomes 0.
    """
    return warp(labels[None, None], u[None], "nearest")[0, 0]


def sample(image: Num[Tensor, "b c i j k"], points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b c n"]:
    """Trilinear values of an image at points; voxels outside count as zero. Differentiable in both.

    Args:
        image: (b, c, i, j, k).
        points: (b, n, 3) voxel indices, fractions allowed.
    """
    image, points = at_least_float32(image, points)
    low = points.detach().floor()
    fraction = points - low
    value: Tensor = image.new_zeros(())
    for corner in range(8):
        step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=points.device)
        weight = torch.where(step.bool(), fraction, 1 - fraction).prod(2)
        value = value + weight[:, None] * _take(image, low.long() + step)
    return value


def _nearest(image: Shaped[Tensor, "b c i j k"], u: Float[Tensor, "b 3 x y z"]) -> Shaped[Tensor, "b c x y z"]:
    points = _positions(u.shape[2:], u.double()) + u
    last = points.new_tensor(image.shape[2:]).view(1, 3, 1, 1, 1) - 1
    inside = ((points >= 0) & (points <= last)).all(1, keepdim=True)
    index = torch.where(inside, points + 0.5, -1).floor().long().flatten(2).transpose(1, 2)
    return _take(image, index).unflatten(2, u.shape[2:])


def _take(image: Shaped[Tensor, "b c i j k"], index: Int[Tensor, "b n 3"]) -> Shaped[Tensor, "b c n"]:
    """The image at whole indices, zero outside."""
    size = torch.tensor(image.shape[2:], device=image.device)
    inside = ((index >= 0) & (index < size)).all(2)
    i, j, k = torch.where(inside[..., None], index, 0).unbind(2)
    flat = ((i * image.shape[3] + j) * image.shape[4] + k)[:, None].expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, flat) * inside[:, None]


def _positions(shape: torch.Size, like: Tensor) -> Float[Tensor, "1 3 x y z"]:
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
