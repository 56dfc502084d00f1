"""How regular a displacement field is: the spread of its volume change, and how much of it folds."""

import math
from collections.abc import Iterable, Iterator
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics.finite import require_finite
from regbench.spatial import jacobian_determinant
from regbench.spatial.jacobian import CROP

Definition = Literal["strict", "l2r"]

SLAB_PLANES = 4
"""Planes of determinants held at once: a few megabytes at 160³, where the whole gradient would take hundreds."""
LEAST, MOST = 1e-9, 1e9
L2R_SHIFT = 3


def sdlogj(u: Float[Tensor, "3 i j k"], definition: Definition = "strict") -> float:
    """Standard deviation (divisor n) of the logarithm of det(I + ∇u), two voxels cropped on each side.

    Determinants and logarithms are taken in the field's own precision, moments in float64. Where a float32 field folds,
    the strict number depends on the rounding of determinants near zero, in the sixth or seventh digit.

    Args:
        u: (3, i, j, k) displacement in voxels, at least 5 voxels along each axis.
        definition: "strict" clips determinants at 1e-9, so that folded voxels weigh heavily; "l2r" is the Learn2Reg
            evaluation's (version 2.0): 3 is added to every determinant before it is clipped, which makes numbers
            about four times smaller and lets folding pass unseen.

    Raises:
        BadValueError: for a field that is not finite or too small, or an unknown definition.
    """
    return sdlogj_of_determinants(_determinants(u), definition)


def sdlogj_of_determinants(determinants: Iterable[Float[Tensor, "_ _ _"]], definition: Definition = "strict") -> float:
    """The same for determinants at hand, all at once or slab by slab.

    Raises:
        BadValueError: for determinants that are not finite, or an unknown definition.
    """
    if definition not in ("strict", "l2r"):
        raise BadValueError(f"SDlogJ is defined 'strict' or 'l2r', not {definition!r}.")
    shift = L2R_SHIFT if definition == "l2r" else 0
    count, mean, squares = 0, 0.0, 0.0
    for slab in _finite(determinants):
        logarithms = (slab + shift).clamp_(LEAST, MOST).log_().double()
        slab_mean = float(logarithms.mean())
        difference, total = slab_mean - mean, count + slab.numel()
        # Chan, Golub and LeVeque 1979: moments of the parts make the moments of the whole, without cancellation.
        squares += float((logarithms - slab_mean).square_().sum()) + difference**2 * count * slab.numel() / total
        mean += difference * slab.numel() / total
        count = total
    return math.sqrt(squares / count)


def folding_percent(u: Float[Tensor, "3 i j k"]) -> float:
    """Share of voxels with det(I + ∇u) ≤ 0 in percent, central differences, two voxels cropped on each side.

    The Learn2Reg evaluation counts after adding 3 and clipping, and so never finds any.

    Args:
        u: (3, i, j, k) displacement in voxels, at least 5 voxels along each axis.

    Raises:
        BadValueError: for a field that is not finite or too small.
    """
    return folding_percent_of_determinants(_determinants(u))


def folding_percent_of_determinants(determinants: Iterable[Float[Tensor, "_ _ _"]]) -> float:
    """The same for determinants at hand, all at once or slab by slab.

    Raises:
        BadValueError: for determinants that are not finite.
    """
    folded = count = 0
    for slab in _finite(determinants):
        folded += int((slab <= 0).sum())
        count += slab.numel()
    return 100 * folded / count


def _determinants(u: Float[Tensor, "3 i j k"]) -> Iterator[Float[Tensor, "_ _ _"]]:
    planes = u.shape[1] - 2 * CROP
    if planes < 1:
        yield jacobian_determinant(u)  # which says what is wrong
    for start in range(0, planes, SLAB_PLANES):
        yield jacobian_determinant(u[:, start : min(start + SLAB_PLANES, planes) + 2 * CROP])


def _finite(determinants: Iterable[Float[Tensor, "_ _ _"]]) -> Iterator[Float[Tensor, "_ _ _"]]:
    for slab in determinants:
        require_finite(slab)
        yield slab
