"""Displacement fields as maps: composition, integration, inversion, change of size."""

from collections.abc import Sequence

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
    if inner_u.dim() == 4:
        return inner_u + warp(outer_u[None], inner_u[None])[0]
    return inner_u + warp(outer_u, inner_u)


def integrate(velocity: Float[Tensor, "*b 3 i j k"], steps: int = 7) -> Float[Tensor, "*b 3 i j k"]:
    """The flow of a stationary velocity field at time 1, by scaling and squaring.

    Args:
        velocity: ([b,] 3, i, j, k) in voxels per unit of time.
        steps: the field is scaled by 2 to the minus `steps` and composed with itself `steps` times.

    Source: Arsigny et al., A Log-Euclidean Framework for Statistics on Diffeomorphisms, MICCAI 2006.
    """
    (u,) = at_least_float32(velocity)
    u = u / 2**steps
    for _ in range(steps):
        u = compose(u, u)
    return u


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
