"""Intensity differences."""

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.losses.compared import compared


def mse(fixed: Float[Tensor, "*shape"], moved: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean squared difference of two images of one shape; BadValueError for two shapes."""
    fixed, moved = compared(fixed, moved)
    return torch.mean((fixed - moved) ** 2)
