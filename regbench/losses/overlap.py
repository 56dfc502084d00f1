"""Overlap of masks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.spatial import warp
from regbench.spatial.precision import at_least_float32


def soft_dice(fixed: Float[Tensor, "b k x y z"], moved: Float[Tensor, "b k x y z"]) -> Float[Tensor, ""]:
    """1 − Dice, with Dice = 2 Σ f m / (Σ f + Σ m), mean over the classes (of each item) that either mask holds."""
    fixed, moved = at_least_float32(fixed, moved)
    overlap = (fixed * moved).sum((2, 3, 4))
    total = fixed.sum((2, 3, 4)) + moved.sum((2, 3, 4))
    present = total > 0
    dice = 2 * overlap / torch.where(present, total, 1)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def warped_dice(
    fixed_mask: UInt8[Tensor, "b 1 x y z"],
    moving_mask: UInt8[Tensor, "b 1 i j k"],
    u: Float[Tensor, "b 3 x y z"],
    labels: Sequence[int],
) -> Float[Tensor, ""]:
    """1 − Dice of the fixed mask and the trilinearly warped moving mask, mean over the labels at hand."""
    numbers = torch.tensor(list(labels), device=u.device).view(1, -1, 1, 1, 1)
    fixed, moving = (fixed_mask == numbers).float(), (moving_mask == numbers).float()
    return soft_dice(fixed, warp(moving, u))
