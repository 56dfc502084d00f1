"""Distances between points that a field takes somewhere, and where they belong."""

import math
from collections.abc import Iterable
from typing import SupportsFloat

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regbench.api import Landmarks
from regbench.errors import BadValueError
from regbench.metrics.finite import require_finite
from regbench.metrics.labels import checked_spacing
from regbench.spatial import compose, sample


def tre_mm(u: Float[Tensor, "3 i j k"], landmarks: Landmarks, spacing_mm: Iterable[SupportsFloat]) -> float:
    """Target registration error: the mean of `landmark_errors_mm`.

    Raises:
        BadValueError: if no landmark lies within the field, or the spacing is impossible.
    """
    errors = landmark_errors_mm(u, landmarks, spacing_mm)
    if not len(errors):
        raise BadValueError(
            f"None of the {len(landmarks.fixed)} landmarks of the fixed scan lies within the field of "
            f"{tuple(u.shape[1:])} voxels; landmarks are given in voxel indices of the field's own grid."
        )
    return float(errors.mean())


def landmark_errors_mm(
    u: Float[Tensor, "3 i j k"], landmarks: Landmarks, spacing_mm: Iterable[SupportsFloat]
) -> Float[Tensor, "m"]:
    """Distance in mm between x + u(x), for each landmark x of the fixed scan, and its counterpart in the moving scan.

    Args:
        u: (3, i, j, k) displacement in voxels, trilinear between voxels.
        landmarks: corresponding points; those outside the field (beyond the centres of its outermost voxels) are left
            out, as nothing is known there.
        spacing_mm: millimetres between neighbours of the **moving** grid, where both points lie.

    Returns:
        (m,) float64, in order; m is at most the number of landmarks.

    Raises:
        BadValueError: for an impossible spacing.
    """
    spacing = torch.from_numpy(checked_spacing(spacing_mm)).to(u.device)
    fixed, moving = (points.to(u.device, torch.float64) for points in (landmarks.fixed, landmarks.moving))
    inside = _inside(fixed, u)
    displacement = sample(u[None].double(), fixed[inside][None])[0].T
    errors: Tensor = ((fixed[inside] + displacement - moving[inside]) * spacing).norm(dim=1)
    return errors


def inverse_consistency_mm(
    u: Float[Tensor, "3 i j k"], v: Float[Tensor, "3 x y z"], spacing_mm: Iterable[SupportsFloat]
) -> float:
    """Mean of |u∘v + v| in mm: how far a point is from its place after both fields have moved it.

    Args:
        u: (3, i, j, k) displacement of the pair, in voxels, on the fixed grid.
        v: (3, x, y, z) displacement of the pair with the roles exchanged, on the moving grid.
        spacing_mm: millimetres between neighbours of the moving grid, where the way there and back begins and ends.

    Returns:
        The mean over the voxels that v leaves within the fixed grid; infinite if there is none.

    Raises:
        BadValueError: for fields that are not finite, or an impossible spacing.
    """
    require_finite(u, v)
    there_and_back = compose(u, v)
    squared = sum((part * step) ** 2 for part, step in zip(there_and_back, checked_spacing(spacing_mm), strict=True))
    inside = torch.ones(v.shape[1:], dtype=torch.bool, device=v.device)
    for axis, (part, size) in enumerate(zip(v, u.shape[1:], strict=True)):
        shape = [-1 if axis == other else 1 for other in range(3)]
        index = part + torch.arange(v.shape[axis + 1], device=v.device, dtype=v.dtype).view(shape)
        inside &= (index >= 0) & (index <= size - 1)
    lengths = squared.sqrt()[inside]
    return float(lengths.mean(dtype=torch.float64)) if len(lengths) else math.inf


def _inside(points: Float[Tensor, "n 3"], u: Float[Tensor, "3 i j k"]) -> Bool[Tensor, "n"]:
    """Which points lie between the centres of the outermost voxels."""
    last = torch.tensor(u.shape[1:], device=points.device) - 1
    return ((points >= 0) & (points <= last)).all(1)
