"""The loss terms of a training step, and the warp."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.api import Batch


def lncc(fixed: Tensor, moved: Tensor, window: int = 9) -> Tensor:
    """Five convolutions with a kernel of ones."""
    kernel = fixed.new_ones(1, 1, window, window, window)
    products = fixed, moved, fixed * fixed, moved * moved, fixed * moved
    a, b, aa, bb, ab = (F.conv3d(volume, kernel, padding=window // 2) for volume in products)
    count = window**3
    cross = ab - a * b / count
    return -(cross * cross / ((aa - a * a / count) * (bb - b * b / count) + 1e-5)).mean()


def gradient_penalty(u: Tensor) -> Tensor:
    """Each axis is brought to the front, subtracted, and brought back."""
    terms = []
    for axis in (2, 3, 4):
        first = u.permute(axis, *(other for other in range(5) if other != axis))
        difference = (first[1:] - first[:-1]).permute(*range(1, axis + 1), 0, *range(axis + 1, 5))
        terms.append((difference * difference).flatten(1).mean(1))
    return (sum(terms) / 3).mean()


def warp(image: Tensor, u: Tensor) -> Tensor:
    """A buffer of identity indices, normalised sums, the axes reversed, torch's sampler."""
    points = _identity(*u.shape[2:], device=u.device) + u
    normalised = [2 * (points[:, axis] / (n - 1) - 0.5) for axis, n in enumerate(u.shape[2:])]
    grid = torch.stack(normalised, 1).permute(0, 2, 3, 4, 1)[..., [2, 1, 0]]
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


@lru_cache(maxsize=1)
def _identity(*size: int, device: torch.device) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def dice(fixed: Tensor, moving: Tensor, u: Tensor, classes: int = 13) -> Tensor:
    """All channels one-hot, warped, multiplied."""

    def one_hot(mask: Tensor) -> Tensor:
        return F.one_hot(mask[:, 0].long(), classes).permute(0, 4, 1, 2, 3).to(u.dtype)

    target, moved = one_hot(fixed), warp(one_hot(moving), u)
    overlap, total = (target * moved).sum((2, 3, 4)), target.sum((2, 3, 4)) + moved.sum((2, 3, 4))
    return (1 - 2 * overlap / total)[:, 1:].mean()


def objective(u: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Similarity, smoothness, and overlap where there are masks."""
    terms = {"similarity": lncc(batch.fixed, warp(batch.moving, u)), "smooth": gradient_penalty(u)}
    if batch.fixed_mask is not None and batch.moving_mask is not None:
        terms["segmentation"] = dice(batch.fixed_mask, batch.moving_mask, u, 1 + len(batch.setting.labels))
    return terms
