"""Small scenes whose right answer is known."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.api import Grid, Pair, Shape, Volume

Shift = tuple[float, float, float]

SHAPE: Shape = (24, 16, 20)
SPACING_MM = (2.0, 1.5, 3.0)
LABELS = (1, 2)
_WAVELENGTHS = (11.0, 7.0)


def along(axis: int, shift: float) -> Shift:
    """A shift along one axis.

    >>> along(1, 2.0)
    (0.0, 2.0, 0.0)
    """
    i, j, k = (shift if axis == a else 0.0 for a in range(3))
    return i, j, k


def waves(shape: Shape, shift: Shift, *, masks: bool) -> Pair:
    """A pair of waves, whose three axes do not speak for each other; moving(x) = fixed(x − shift).

    Args:
        shape: of both scans.
        shift: voxels along each axis: the right displacement, everywhere.
        masks: whether the pair has masks.
    """
    return _pair(_waves(shape, (0.0, 0.0, 0.0)), _waves(shape, shift), masks=masks)


def ball(shape: Shape, shift: Shift, *, masks: bool) -> Pair:
    """A pair of one soft ball on dark ground, which lies `shift` further in the moving scan.

    Args:
        shape: of both scans.
        shift: voxels along each axis: the right displacement on the ball.
        masks: whether the pair has masks.
    """
    return _pair(_ball(shape, (0.0, 0.0, 0.0)), _ball(shape, shift), masks=masks)


def unlike(shape: Shape, *, masks: bool, seed: int = 0) -> Pair:
    """A pair of two smooth random scans that have nothing to do with each other."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((2, 1, 4, 4, 4), generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
    return _pair(fine[0, 0], fine[1, 0], masks=masks)


def enlarged(pair: Pair, factor: float) -> Pair:
    """The same arrays with voxels so many times as long along each axis."""
    i, j, k = (factor * spacing for spacing in pair.grid.spacing_mm)
    grid = Grid.centred(pair.grid.shape, (i, j, k))
    fixed_mask, moving_mask = (mask and Volume(mask.data, grid) for mask in (pair.fixed_mask, pair.moving_mask))
    return Pair(Volume(pair.fixed.data, grid), Volume(pair.moving.data, grid), fixed_mask, moving_mask, pair.labels)


def _pair(fixed: Float[Tensor, "i j k"], moving: Float[Tensor, "i j k"], *, masks: bool) -> Pair:
    i, j, k = fixed.shape
    grid = Grid.centred((i, j, k), SPACING_MM)
    bare = Pair(Volume(fixed, grid), Volume(moving, grid))
    if not masks:
        return bare
    fixed_mask, moving_mask = (Volume(_label_map(image), grid) for image in (fixed, moving))
    return Pair(bare.fixed, bare.moving, fixed_mask, moving_mask, LABELS)


def _label_map(image: Float[Tensor, "i j k"]) -> UInt8[Tensor, "i j k"]:
    return (image > 0.45).to(torch.uint8) + (image > 0.7).to(torch.uint8)


def _waves(shape: Shape, shift: Shift) -> Float[Tensor, "i j k"]:
    image = torch.zeros(shape)
    for axis, (size, by) in enumerate(zip(shape, shift, strict=True)):
        place = torch.arange(size, dtype=torch.float32) - by
        wave = sum(torch.cos(2 * torch.pi * place / length + axis + length) for length in _WAVELENGTHS)
        image = image + torch.as_tensor(wave).reshape([-1 if axis == a else 1 for a in range(3)])
    return 0.5 + image / 12


def _ball(shape: Shape, shift: Shift) -> Float[Tensor, "i j k"]:
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 - by for n, by in zip(shape, shift, strict=True)]
    distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    return torch.exp(-distance / (min(shape) / 4) ** 2)
