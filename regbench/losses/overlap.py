"""Overlap of masks."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from regbench.errors import BadValueError
from regbench.losses.compared import compared
from regbench.losses.warped_overlap import OUTSIDE, WarpedOverlap, tally
from regbench.spatial.precision import at_least_float32


def soft_dice(fixed: Float[Tensor, "b c i j k"], moved: Float[Tensor, "b c i j k"]) -> Float[Tensor, ""]:
    """1 − Dice of soft masks, Dice = 2 Σ fm / Σ (f + m); the mean over all classes that either mask holds.

    Args:
        fixed: (b, c, i, j, k) memberships in [0, 1], one channel a class.
        moved: the same of the moved scan.

    Raises:
        BadValueError: for masks of two shapes.

    Source: Milletari et al., V-Net, 3DV 2016, without its squares.
    """
    fixed, moved = compared(fixed, moved)
    overlap = (fixed * moved).sum((2, 3, 4))
    return _mean_over_present(overlap, fixed.sum((2, 3, 4)) + moved.sum((2, 3, 4)))


def warped_dice(
    fixed_mask: UInt8[Tensor, "b 1 x y z"],
    moving_mask: UInt8[Tensor, "b 1 i j k"],
    u: Float[Tensor, "b 3 x y z"],
    labels: Sequence[int],
) -> Float[Tensor, ""]:
    """1 − Dice of a label map and another one that is warped as soft masks; differentiable in u.

    Equals `soft_dice` of the one-hot fixed mask and the trilinearly warped one-hot moving mask, without making either.

    Args:
        fixed_mask: (b, 1, x, y, z) label map.
        moving_mask: (b, 1, i, j, k) label map.
        u: (b, 3, x, y, z) displacement in voxels.
        labels: the numbers that count; the mean is over those that either mask holds.

    Raises:
        BadValueError: for a label above 254.
    """
    if not all(0 <= label < OUTSIDE for label in labels):
        raise BadValueError(f"Labels that a Dice loss counts lie between 0 and {OUTSIDE - 1}; got {list(labels)}.")
    (u,) = at_least_float32(u)
    counted = _numbers(tuple(labels), u.device)
    overlap, moved = WarpedOverlap.apply(fixed_mask[:, 0], moving_mask[:, 0], u, counted)  # type: ignore[no-untyped-call]
    fixed = torch.stack([tally(mask.flatten(), counted) for mask in fixed_mask])
    return _mean_over_present(overlap[:, counted], (fixed + moved)[:, counted]).to(u.dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training, too, whoever asks first
def _numbers(labels: tuple[int, ...], device: torch.device) -> Int[Tensor, " n"]:
    """The labels as a tensor that is sent to the device once: to send it anew each time would make the host wait."""
    return torch.tensor(labels, dtype=torch.long, device=device)


def _mean_over_present(overlap: Float[Tensor, "b c"], total: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    present = total > 0
    loss = torch.where(present, 1 - 2 * overlap / torch.where(present, total, 1), 0)
    return loss.sum() / present.sum().clamp(min=1)
