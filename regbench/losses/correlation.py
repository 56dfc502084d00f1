"""Local normalised cross-correlation, with a hand-written backward.

Sums of squares cancel wherever a window is nearly constant (background, saturated plateaus): in float32 what is left is
noise that swamps the gradient, so all sums of products are float64.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from regbench.errors import BadValueError
from regbench.losses.compared import compared
from regbench.losses.windows import BoxSum, box_sum, padded_length

EPSILON = 1e-5
"""Added to the product of the variances, as in all published implementations."""

RENEWAL = 16
"""Planes over which a float64 sum runs on. What errors that adds is far below float32's; float32 sums never run on, as
their terms differ by many orders of magnitude."""


def lncc(fixed: Float[Tensor, "b c i j k"], moved: Float[Tensor, "b c i j k"], *, window: int = 9) -> Float[Tensor, ""]:
    """Minus the mean of the squared local correlation, in [−1, 0]; differentiable in both images.

    cross² / (variance · variance + 1e-5) over a cubic window around each voxel, which near the border holds zeros that
    count as voxels. Intensities are expected in [0, 1] or z-scored: the epsilon has their unit to the fourth power.

    Args:
        fixed: (b, c, i, j, k); each channel is correlated with its own.
        moved: of the same shape.
        window: its side in voxels, odd.

    Raises:
        BadValueError: for a window that is not odd and at least 3, or images of two shapes.

    Source: Avants et al., Symmetric diffeomorphic image registration with cross-correlation, Medical Image Analysis
    2008; in this form Balakrishnan et al., VoxelMorph, IEEE TMI 2019.
    """
    if window < 3 or window % 2 == 0:
        raise BadValueError(f"An LNCC window has an odd side of at least 3 voxels, not {window}.")
    fixed, moved = compared(fixed, moved)
    loss: Tensor = _LocalCorrelation.apply(fixed.flatten(0, 1), moved.flatten(0, 1), window)  # type: ignore[no-untyped-call]
    return loss


def lncc_map(
    fixed: Float[Tensor, "b c i j k"], moved: Float[Tensor, "b c i j k"], *, window: int = 9
) -> Float[Tensor, "b c i j k"]:
    """The squared local correlation around each voxel, whose mean `lncc` is the negative of; without gradients.

    Args:
        fixed: (b, c, i, j, k); each channel is compared with its own.
        moved: of the same shape.
        window: its side in voxels, odd.
    """
    fixed, moved = compared(fixed, moved)
    with torch.no_grad():
        correlation, *_ = _around_each(fixed.flatten(0, 1).double(), moved.flatten(0, 1).double(), window)
        return correlation.view_as(fixed).to(fixed.dtype)


class _LocalCorrelation(torch.autograd.Function):
    """(fixed (n, i, j, k), moved, window) → scalar; the gradient is made along with the value."""

    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moved: Tensor, window: int) -> Tensor:
        way = _plane_by_plane if fixed.device.type == "cpu" else _at_once
        for_fixed, for_moved = ctx.needs_input_grad[:2]
        total, moved_gradient = way(fixed, moved, window, for_moved)
        fixed_gradient = way(moved, fixed, window, True)[1] if for_fixed else None
        ctx.save_for_backward(fixed_gradient, moved_gradient)
        return (-total / fixed.numel()).to(fixed.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        fixed_gradient, moved_gradient = (None if own is None else own * gradient for own in ctx.saved_tensors)
        return fixed_gradient, moved_gradient, None


def _at_once(fixed: Tensor, moved: Tensor, window: int, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """The summed squared correlation, and the gradient of the loss for `moved`."""
    a, b = fixed.double(), moved.double()
    correlation, *factors = _around_each(a, b, window)
    if not differentiate:
        return correlation.sum(), None
    for_fixed, for_moved, constant = (box_sum(factor, window) for factor in factors)
    gradient = (constant / window**3).addcmul_(a, for_fixed).addcmul_(b, for_moved, value=-1)
    return correlation.sum(), gradient.mul_(-2 / moved.numel()).to(moved.dtype)


def _around_each(a: Tensor, b: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `_statistics` gives, of the window around each voxel."""
    return _statistics([box_sum(volumes, window) for volumes in (a, b, a * a, b * b, a * b)], window**3)


def _plane_by_plane(fixed: Tensor, moved: Tensor, window: int, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """The same, with no intermediate result larger than a few planes."""
    total = torch.zeros((), dtype=torch.float64)
    gradient = torch.empty_like(moved) if differentiate else None
    for item in range(fixed.shape[0]):
        total += _stream(fixed[item], moved[item], window, None if gradient is None else gradient[item])
    return total, None if gradient is None else gradient.mul_(-2 / moved.numel())


def _stream(fixed: Tensor, moved: Tensor, window: int, gradient: Tensor | None) -> Tensor:
    """The summed squared correlation of one volume; half its derivative for `moved` is written to `gradient`."""
    planes, half = fixed.shape[0], window // 2
    sums = _box_sums(5, fixed.shape[1:], window, torch.float64, renewal=RENEWAL)
    spreads = _box_sums(3, fixed.shape[1:], window, moved.dtype, renewal=1)
    total = torch.zeros(sums[0].length, dtype=torch.float64)
    for newest in range(planes + window - 1):
        if newest < planes:
            _fill(sums, fixed[newest], moved[newest])
        here = [box.push(empty=newest >= planes) for box in sums]
        centre = newest - half
        inside = 0 <= centre < planes
        if inside:
            correlation, *factors = _statistics(here, window**3)
            total += correlation
        if gradient is None or centre < 0:
            continue
        if inside:
            for box, factor in zip(spreads, factors, strict=True):
                box.inside.copy_(box.unpad(factor))
        spread = [box.unpad(box.push(empty=not inside)) for box in spreads]
        done = centre - half
        if done >= 0:
            target = torch.mul(spread[2], 1 / window**3, out=gradient[done])
            target.addcmul_(fixed[done], spread[0]).addcmul_(moved[done], spread[1], value=-1)
    return sums[0].unpad(total).sum()


def _box_sums(count: int, plane: torch.Size, window: int, dtype: torch.dtype, *, renewal: int) -> list[BoxSum]:
    scratch = [torch.empty(padded_length(plane, window), dtype=dtype) for _ in range(3)]
    return [BoxSum(plane, window, dtype, renewal, scratch) for _ in range(count)]


def _fill(sums: list[BoxSum], fixed: Tensor, moved: Tensor) -> None:
    """A plane of fixed, moved, their squares and their product, each into its window sum."""
    a, b, aa, bb, ab = sums
    a.inside.copy_(fixed)
    b.inside.copy_(moved)
    torch.mul(a.padded, a.padded, out=aa.padded)
    torch.mul(b.padded, b.padded, out=bb.padded)
    torch.mul(a.padded, b.padded, out=ab.padded)


def _statistics(sums: list[Tensor], voxels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From window sums of a, b, aa, bb, ab to the squared correlation and to what its gradient is made of.

    Half the derivative of Σ correlation for b(y) is a(y)·box(r) − b(y)·box(s) + box(t) with
    r = cross / D, s = r²·variance(a), t = s·mean(b) − r·mean(a), D = variance(a)·variance(b) + epsilon.

    Returns:
        The correlation, r, s, and t times the number of voxels of a window.
    """
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = sums
    cross = torch.addcmul(sum_ab, sum_a, sum_b, value=-1 / voxels)
    variance_a = torch.addcmul(sum_aa, sum_a, sum_a, value=-1 / voxels).clamp_(min=0)
    variance_b = torch.addcmul(sum_bb, sum_b, sum_b, value=-1 / voxels).clamp_(min=0)
    denominator = variance_b.mul_(variance_a).add_(EPSILON)
    r = torch.div(cross, denominator, out=denominator)
    s = variance_a.mul_(r).mul_(r)
    t = (sum_b * s).addcmul_(r, sum_a, value=-1)
    return cross.mul_(r), r, s, t
