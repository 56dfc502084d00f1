"""Pure functions: similarity, smoothness and overlap, differentiable in the field."""

from regbench.losses.correlation import lncc, lncc_map
from regbench.losses.intensity import mse
from regbench.losses.overlap import soft_dice, warped_dice
from regbench.losses.smoothness import gradient_penalty

__all__ = ["gradient_penalty", "lncc", "lncc_map", "mse", "soft_dice", "warped_dice"]
