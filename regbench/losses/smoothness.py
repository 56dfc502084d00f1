"""The smoothness of a displacement field, with a hand-written backward."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from regbench.spatial.blocks import Workspace, plane_blocks
from regbench.spatial.precision import at_least_float32


def gradient_penalty(u: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, ""]:
    """The squared forward differences of a displacement: their mean along each axis, then the mean of the three.

    An axis of one voxel has no differences and counts as 0.

    Args:
        u: (b, 3, i, j, k) in voxels.

    Source: the diffusion regulariser ('l2') of Balakrishnan et al., VoxelMorph, IEEE TMI 2019.
    """
    (u,) = at_least_float32(u)
    penalty: Tensor = _GradientPenalty.apply(u)  # type: ignore[no-untyped-call]
    return penalty


class _GradientPenalty(torch.autograd.Function):
    """The gradient is made along with the value, while the differences are in the cache."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        gradient = torch.zeros(u.shape, dtype=u.dtype, device=u.device) if ctx.needs_input_grad[0] else None
        targets = [None] * u.shape[0] * 3 if gradient is None else gradient.flatten(0, 1).flatten(1)
        weights = [1 / (3 * max(1, u.numel() // n * (n - 1))) for n in u.shape[2:]]
        squares: tuple[list[Tensor], ...] = ([], [], [])
        for volume, target in zip(u.flatten(0, 1), targets, strict=True):
            for axis, start, step, difference in _differences(volume.contiguous()):
                squares[axis].append(torch.dot(difference, difference))
                if target is not None:
                    stop = start + difference.numel()
                    target[start + step : stop + step].add_(difference, alpha=2 * weights[axis])
                    target[start:stop].sub_(difference, alpha=2 * weights[axis])
        ctx.save_for_backward(gradient)
        total = torch.zeros((), dtype=torch.float64, device=u.device)
        for weight, terms in zip(weights, squares, strict=True):
            total += weight * torch.stack(terms).sum(dtype=torch.float64) if terms else 0
        return total.to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own: Tensor
        (own,) = ctx.saved_tensors
        return own * gradient


def _differences(volume: Tensor) -> Iterator[tuple[int, int, int, Tensor]]:
    """Forward differences of a contiguous volume in blocks.

    Yields:
        The axis; the flat index of the first voxel; the flat step to its neighbour; the differences between the voxels
        from there on and their neighbours, flat, 0 where there is no neighbour. They are valid until the next.
    """
    flat, plane = volume.view(-1), volume[0].numel()
    work = Workspace(volume.device)
    for planes in plane_blocks(volume.shape, volume.device):
        start, stop = planes.start * plane, planes.stop * plane
        _, (buffer,) = work.rows("difference", 1, stop - start, volume.dtype)
        block = buffer.view(-1, *volume.shape[1:])
        for axis, last in enumerate((block[:0], block[:, -1], block[:, :, -1])):
            step = volume.stride(axis)
            end = min(stop + step, flat.numel()) if axis == 0 else stop
            if volume.shape[axis] == 1 or end - step <= start:
                continue
            difference = torch.sub(flat[start + step : end], flat[start : end - step], out=buffer[: end - step - start])
            last.zero_()
            yield axis, start, step, difference
