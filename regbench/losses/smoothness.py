"""The smoothness of a displacement field."""

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.spatial.precision import at_least_float32


def gradient_penalty(u: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, ""]:
    """The squared forward differences of a displacement: mean along each axis, then the mean of the three axes."""
    (u,) = at_least_float32(u)
    terms = [u.diff(dim=axis).square().mean() for axis in (2, 3, 4) if u.shape[axis] > 1]
    return torch.stack(terms).sum() / 3 if terms else u.sum() * 0
