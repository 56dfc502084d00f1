"""Intensity differences."""

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.spatial.precision import at_least_float32


def mse(fixed: Float[Tensor, "*shape"], moved: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean squared difference of two images of one shape."""
    fixed, moved = at_least_float32(fixed, moved)
    return torch.mean((fixed - moved) ** 2)
