"""The local correlation of two feature maps."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

OFFSETS = tuple((i, j, k) for i in range(3) for j in range(3) for k in range(3))


def correlation(a: Float[Tensor, "b c i j k"], b: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b 27 i j k"]:
    """For each offset of −1, 0 or 1 along each axis (the last fastest): the channel mean of a(x) · b(x + offset).

    Outside its grid b is zero.
    """
    padded = F.pad(b, (1, 1, 1, 1, 1, 1))
    x, y, z = a.shape[2:]
    return torch.stack([(a * padded[:, :, i : i + x, j : j + y, k : k + z]).mean(1) for i, j, k in OFFSETS], 1)
