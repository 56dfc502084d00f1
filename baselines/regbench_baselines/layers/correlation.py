"""The local correlation of two feature maps, and the two maps beside it: what CorrMLP's blocks look at."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

COUNT = 27
# On a CPU the products of one offset stay within a cache of about this many numbers.
CHUNK = 1 << 17


def correlation(a: Float[Tensor, "b c i j k"], b: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b 27 i j k"]:
    """For each offset of −1, 0 or 1 along each axis (the last fastest): the channel mean of a(x) · b(x + offset).

    Outside its grid b is zero.
    """
    return with_correlation(a, b)[:, a.shape[1] : a.shape[1] + COUNT]


def with_correlation(a: Float[Tensor, "b c i j k"], b: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b d i j k"]:
    """cat[a, correlation(a, b), b] along the channels, with neither 27 products nor their gradients in memory."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    joined: Tensor = _WithCorrelation.apply(a.to(dtype), b.to(dtype))  # type: ignore[no-untyped-call]
    return joined


class _WithCorrelation(torch.autograd.Function):
    """Both maps are laid out flat with a margin of zeros, where an offset in space is one shift of the index."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        c, shape = a.shape[1], a.shape[2:]
        flat_a, flat_b = _flat(a), _flat(b)
        products = flat_a.new_empty(a.shape[0], COUNT, flat_a.shape[2])
        for index, shift, start, end in _pieces(flat_a, shape):
            window = flat_a[:, :, start:end] * flat_b[:, :, start + shift : end + shift]
            torch.sum(window, 1, out=products[:, index, start:end])
        ctx.save_for_backward(a, b)
        return torch.cat([a, _unflat(products.div_(c), shape), b], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        c, shape = a.shape[1], a.shape[2:]
        flat_a, flat_b, flat_g = _flat(a), _flat(b), _flat(gradient[:, c:-c] / c)
        grad_a, grad_b = _flat(gradient[:, :c]), _flat(gradient[:, -c:])
        for index, shift, start, end in _pieces(flat_a, shape):
            g = flat_g[:, index : index + 1, start:end]
            grad_a[:, :, start:end].addcmul_(g, flat_b[:, :, start + shift : end + shift])
            grad_b[:, :, start + shift : end + shift].addcmul_(g, flat_a[:, :, start:end])
        return _unflat(grad_a, shape), _unflat(grad_b, shape)


def _flat(x: Tensor) -> Tensor:
    """A copy (b, c, l) with one zero around each axis."""
    return F.pad(x, (1, 1, 1, 1, 1, 1)).contiguous().flatten(2)


def _unflat(flat: Tensor, shape: torch.Size) -> Tensor:
    """What `_flat` was made of."""
    i, j, k = (n + 2 for n in shape)
    return flat.view(*flat.shape[:2], i, j, k)[:, :, 1:-1, 1:-1, 1:-1]


def _pieces(flat: Tensor, shape: torch.Size) -> Iterator[tuple[int, int, int, int]]:
    """(offset's number, its shift of the flat index, first and last index) for each piece and offset."""
    rows, columns = (shape[1] + 2) * (shape[2] + 2), shape[2] + 2
    margin = rows + columns + 1
    size = flat.shape[2] - 2 * margin
    step = max(CHUNK // flat.shape[1], 1024) if flat.device.type == "cpu" else size
    shifts = [i * rows + j * columns + k for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
    for start in range(margin, margin + size, step):
        end = min(start + step, margin + size)
        for index, shift in enumerate(shifts):
            yield index, shift, start, end
