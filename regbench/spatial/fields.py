"""Displacement fields as maps: composition, integration, inversion, change of size."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regbench.spatial.precision import at_least_float32
from regbench.spatial.warping import warp


def compose(outer_u: Float[Tensor, "*b 3 i j k"], inner_u: Float[Tensor, "*b 3 x y z"]) -> Float[Tensor, "*b 3 x y z"]:
    """The displacement of "inner first, then outer": x + u(x) = y + outer(y) with y = x + inner(x).

    Warping by the result is warping by `outer_u` first and its result by `inner_u`, as warps pull back.

    Args:
        outer_u: ([b,] 3, i, j, k) in voxels; zero outside its grid.
        inner_u: ([b,] 3, x, y, z) in voxels.
    """
    outer_u, inner_u = at_least_float32(outer_u, inner_u)
    return inner_u + _at(outer_u, inner_u)


def _at(u: Float[Tensor, "*b 3 i j k"], inner_u: Float[Tensor, "*b 3 x y z"]) -> Float[Tensor, "*b 3 x y z"]:
    """What `u` is where another displacement leads to."""
    return warp(u, inner_u) if inner_u.dim() == 5 else warp(u[None], inner_u[None])[0]


def integrate(
    velocity: Float[Tensor, "*b 3 i j k"], steps: int = 7, *, beyond: Literal["zero", "border"] = "zero"
) -> Float[Tensor, "*b 3 i j k"]:
    """The flow of a stationary velocity field at time 1, by scaling and squaring.

    Args:
        velocity: ([b,] 3, i, j, k) in voxels per unit of time.
        steps: the field is scaled by 2 to the minus `steps` and composed with itself `steps` times.
        beyond: the velocity outside of the grid: none, as the official networks have it, which bends the flow where it
            crosses the border; or that of the border's nearest point.

    Source: Arsigny et al., A Log-Euclidean Framework for Statistics on Diffeomorphisms, MICCAI 2006.
    """
    (scaled,) = at_least_float32(velocity)
    u: Tensor = scaled / 2**steps
    for _ in range(steps):
        u = u + _at(u, u if beyond == "zero" else _kept_inside(u))
    return u


def _kept_inside(u: Float[Tensor, "*b 3 i j k"]) -> Float[Tensor, "*b 3 i j k"]:
    """The displacement that stops at the border where `u` leaves the grid."""
    parts = []
    for axis, part in enumerate(u.unbind(-4)):
        size = part.shape[axis - 3]
        place = torch.arange(size, dtype=u.dtype, device=u.device).view(-1, *[1] * (2 - axis))
        parts.append((part + place).clamp(0, size - 1) - place)
    return torch.stack(parts, -4)


def invert(
    u: Float[Tensor, "*b 3 i j k"], iterations: int = 50, tolerance: float = 1e-3
) -> Float[Tensor, "*b 3 i j k"]:
    """The displacement v with v(x) = −u(x + v(x)), by fixed-point iteration.

    It converges where u changes by less than one voxel from voxel to voxel; where x + v(x) leaves the grid, u is zero.

    Args:
        u: ([b,] 3, i, j, k) in voxels.
        iterations: how many at most.
        tolerance: in voxels; it stops when no component changes by more.

    Source: Chen et al., A simple fixed-point approach to invert a deformation field, Medical Physics 2008.
    """
    (u,) = at_least_float32(u)
    batched = u if u.dim() == 5 else u[None]
    v = -batched
    for _ in range(iterations):
        previous, v = v, -warp(batched, v)
        if float((v - previous).detach().abs().max()) <= tolerance:
            break
    return v.view_as(u)


def resize_displacement(u: Float[Tensor, "*b 3 i j k"], shape: Sequence[int]) -> Float[Tensor, "*b 3 x y z"]:
    """A displacement on a grid of another size over the same scene, in voxels of that grid.

    Values are interpolated with the outermost voxel centres aligned, and component c is multiplied by the ratio of the
    sizes along axis c.

    Args:
        u: ([b,] 3, i, j, k) in voxels.
        shape: the new size (x, y, z).
    """
    (u,) = at_least_float32(u)
    x, y, z = shape
    if (x, y, z) == tuple(u.shape[-3:]):
        return u
    batched = u if u.dim() == 5 else u[None]
    resized = F.interpolate(batched, size=(x, y, z), mode="trilinear", align_corners=True)
    ratios = [new / old for new, old in zip((x, y, z), u.shape[-3:], strict=True)]
    parts = [part * ratio for part, ratio in zip(resized.unbind(1), ratios, strict=True)]
    return torch.stack(parts, 1).reshape(*u.shape[:-3], x, y, z)
