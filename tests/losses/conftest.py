"""The losses written out plainly, in the precision of what they are given."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[..., Tensor]


def _box(volume: Tensor, window: int) -> Tensor:
    """A convolution with a kernel of ones, one axis after the other."""
    for axis in (2, 3, 4):
        padding = [window // 2 if pair == 4 - axis else 0 for pair in range(3) for _ in range(2)]
        volume = F.pad(volume, padding).unfold(axis, window, 1).sum(-1)
    return volume


@pytest.fixture(scope="session")
def plain_lncc() -> Loss:
    """Five window sums and what autograd makes of them."""

    def lncc(fixed: Tensor, moved: Tensor, window: int = 9) -> Tensor:
        count = window**3
        a, b = _box(fixed, window), _box(moved, window)
        cross = _box(fixed * moved, window) - a * b / count
        variances = (_box(image * image, window) - sums * sums / count for image, sums in ((fixed, a), (moved, b)))
        variance_a, variance_b = (variance.clamp(min=0) for variance in variances)
        return -(cross * cross / (variance_a * variance_b + 1e-5)).mean()

    return lncc


@pytest.fixture(scope="session")
def plain_penalty() -> Loss:
    """Differences along each axis, each with its mean."""
    return lambda u: sum(u.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3


@pytest.fixture(scope="session")
def one_hot() -> Callable[..., Tensor]:
    """`one_hot(mask, labels)`: (b, 1, i, j, k) → (b, len(labels), i, j, k) float64."""
    return lambda mask, labels: (mask == torch.tensor(labels).view(1, -1, 1, 1, 1)).double()
