"""The Jacobian determinant of the map x → x + u(x)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.errors import BadValueError
from regbench.spatial.blocks import plane_blocks
from regbench.spatial.precision import at_least_float32

CROP = 2
"""Voxels left out on each side, as in the Learn2Reg evaluation."""


def jacobian_determinant(u: Float[Tensor, "*b 3 i j k"]) -> Float[Tensor, "*b i-4 j-4 k-4"]:
    """det(I + ∇u) by central differences, two voxels cropped on each side.

    Args:
        u: ([b,] 3, i, j, k) in voxels, at least 5 voxels along each axis.

    Raises:
        BadValueError: for a field with fewer than 5 voxels along an axis.
    """
    shape = tuple(u.shape[-3:])
    if min(shape) <= 2 * CROP:
        raise BadValueError(
            f"A Jacobian needs at least {2 * CROP + 1} voxels along each axis, as two are cropped on each side; "
            f"the field has {shape}."
        )
    (u,) = at_least_float32(u)
    inner = [n - 2 * CROP for n in shape]
    blocks = plane_blocks(inner, u.device)
    return torch.cat([_determinant(u[..., slab.start : slab.stop + 2 * CROP, :, :]) for slab in blocks], -3)


def _determinant(u: Tensor) -> Tensor:
    (aa, ba, ca), (ab, bb, cb), (ac, bc, cc) = (_central_difference(u, axis).unbind(-4) for axis in range(3))
    aa, bb, cc = aa + 1, bb + 1, cc + 1
    return aa * (bb * cc - bc * cb) - ab * (ba * cc - bc * ca) + ac * (ba * cb - bb * ca)


def _central_difference(u: Tensor, axis: int) -> Tensor:
    """Half of (next − previous) along a spatial axis, within the crop."""
    inner = [slice(CROP, -CROP)] * 3
    after: list[Any] = [..., *inner]
    before: list[Any] = [..., *inner]
    after[axis + 1] = slice(CROP + 1, u.shape[axis - 3] - CROP + 1)
    before[axis + 1] = slice(CROP - 1, -CROP - 1)
    return (u[tuple(after)] - u[tuple(before)]) / 2
