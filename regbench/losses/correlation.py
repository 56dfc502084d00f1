"""Local normalised cross-correlation."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regbench.spatial.precision import at_least_float32

EPSILON = 1e-5


def lncc(fixed: Float[Tensor, "b c i j k"], moved: Float[Tensor, "b c i j k"], *, window: int = 9) -> Float[Tensor, ""]:
    """Minus the mean of the squared local correlation, in [−1, 0]."""
    fixed, moved = at_least_float32(fixed, moved)
    a, b = fixed.double(), moved.double()
    size = window**3

    def box(x: Tensor) -> Tensor:
        for axis in (2, 3, 4):
            pad = [0, 0, 0, 0, 0, 0]
            pad[2 * (4 - axis)] = pad[2 * (4 - axis) + 1] = window // 2
            x = F.pad(x, pad).unfold(axis, window, 1).sum(-1)
        return x

    sum_i, sum_j = box(a), box(b)
    cross = box(a * b) - sum_i * sum_j / size
    variance_i = (box(a * a) - sum_i * sum_i / size).clamp(min=0)
    variance_j = (box(b * b) - sum_j * sum_j / size).clamp(min=0)
    return -torch.mean(cross * cross / (variance_i * variance_j + EPSILON)).to(moved.dtype)
