"""A 3³ convolution of a map upsampled trilinearly by two, without making the upsampled map.

Mixing channels and interpolating commute: on the coarse grid each of the 27 taps is one matrix product, an eighth of
the arithmetic; upsampling, shifting and adding up the taps is then three products with small banded matrices, one an
axis, which also hold what happens at the borders.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

# Bytes of taps at a time: as many output channels as fit.
TAP_BYTES = 2**25
# On fewer coarse voxels than this the weights are larger than the maps, and there is nothing to gain.
FEW_VOXELS = 27


def upsampled_conv(
    coarse: Float[Tensor, "b c i j k"], weight: Float[Tensor, "o c 3 3 3"], shape: Sequence[int]
) -> Float[Tensor, "b o x y z"]:
    """conv(upsampled): trilinear ×2 (outermost voxel edges aligned), cropped to `shape` at the far end.

    Args:
        coarse: features.
        weight: of a convolution with zero padding 1.
        shape: of the result; along each axis twice the coarse size, or one less.
    """
    x, y, z = shape
    plain = coarse.device.type != "cpu" or torch.is_autocast_enabled("cpu")
    if plain or coarse[0, 0].numel() < FEW_VOXELS:
        return F.conv3d(upsample(coarse, shape), weight, padding=1)
    result: Tensor = _UpsampledConv.apply(coarse, weight, (x, y, z))  # type: ignore[no-untyped-call]
    return result


def upsample(coarse: Float[Tensor, "b c i j k"], shape: Sequence[int]) -> Float[Tensor, "b c x y z"]:
    """Trilinear ×2, outermost voxel edges aligned, cropped to `shape` at the far end."""
    x, y, z = shape
    fine = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=False)
    return fine[:, :, :x, :y, :z]


@lru_cache(maxsize=64)
def tap_matrices(coarse: int, fine: int, dtype: torch.dtype) -> Float[Tensor, "3 fine coarse"]:
    """Along one axis: what tap t of the convolution reads, shift by t − 1 after linear upsampling ×2, zero outside."""
    place = torch.arange(fine)
    nearest = place // 2
    other = (nearest + 2 * (place % 2) - 1).clamp(0, coarse - 1)
    upsampling = torch.zeros(fine, coarse, dtype=dtype)
    upsampling[place, nearest] += 0.75
    upsampling[place, other] += 0.25
    taps = torch.zeros(3, fine, coarse, dtype=dtype)
    taps[0, 1:], taps[1], taps[2, :-1] = upsampling[:-1], upsampling, upsampling[1:]
    return taps


def _by_taps(weight: Tensor) -> Tensor:
    """(o, c, 3, 3, 3) → (3 [axis 1], 3 [axis 2], o, 3 [axis 0], c): the order in which the axes are worked off."""
    return weight.permute(3, 4, 0, 2, 1)


def _pieces(outputs: int, voxels: int, item_bytes: int) -> Iterator[slice]:
    step = max(1, TAP_BYTES // (27 * voxels * item_bytes))
    return (slice(start, min(start + step, outputs)) for start in range(0, outputs, step))


class _UpsampledConv(torch.autograd.Function):
    """Only the coarse map and the weight are kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, coarse: Tensor, weight: Tensor, shape: tuple[int, int, int]) -> Tensor:
        ctx.save_for_backward(coarse, weight)
        (i, j, k), (x, y, z) = coarse.shape[2:], shape
        along_i, along_j, along_k = _matrices(coarse, shape)
        result = coarse.new_empty(len(coarse), len(weight), *shape)
        for piece in _pieces(len(weight), i * j * k, coarse.element_size()):
            n = piece.stop - piece.start
            mixing = _by_taps(weight[piece]).reshape(27 * n, -1)
            for sample, features in zip(result, coarse, strict=True):
                taps = mixing @ features.reshape(-1, i * j * k)
                taps = torch.bmm(along_i.expand(9 * n, -1, -1), taps.view(9 * n, 3 * i, j * k))
                first, *rest = taps.view(3, 3 * n * x, j, k)
                taps = torch.bmm(along_j[0].expand(3 * n * x, -1, -1), first)
                for matrix, tap in zip(along_j[1:], rest, strict=True):
                    taps.baddbmm_(matrix.expand(3 * n * x, -1, -1), tap)
                fine = sample[piece].view(n * x * y, z)
                first, *rest = taps.view(3, n * x * y, k)
                torch.mm(first, along_k[0].t(), out=fine)
                for matrix, tap in zip(along_k[1:], rest, strict=True):
                    fine.addmm_(tap, matrix.t())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        with torch.autocast("cpu", enabled=False):
            coarse, weight = ctx.saved_tensors
            (i, j, k), (x, y, z) = coarse.shape[2:], gradients[0].shape[2:]
            along_i, along_j, along_k = _matrices(coarse, (x, y, z))
            of_coarse, of_weight = coarse.new_zeros(coarse.shape), torch.zeros_like(weight)
            for piece in _pieces(len(weight), i * j * k, coarse.element_size()):
                n = piece.stop - piece.start
                mixing = _by_taps(weight[piece]).reshape(27 * n, -1)
                of_mixing = mixing.new_zeros(mixing.shape)
                for sample, features, of_features in zip(gradients[0], coarse, of_coarse, strict=True):
                    fine = sample[piece].reshape(n * x * y, z)
                    taps = torch.stack([fine @ matrix for matrix in along_k]).view(3 * n * x, y, k)
                    taps = torch.stack([torch.bmm(m.t().expand(3 * n * x, -1, -1), taps) for m in along_j])
                    taps = torch.bmm(along_i.t().expand(9 * n, -1, -1), taps.view(9 * n, x, j * k)).view(27 * n, -1)
                    of_mixing.addmm_(taps, features.reshape(-1, i * j * k).t())
                    of_features.view(-1, i * j * k).addmm_(mixing.t(), taps)
                _by_taps(of_weight[piece]).copy_(of_mixing.view(3, 3, n, 3, -1))
            return of_coarse, of_weight, None


def _matrices(coarse: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """What the three axes are multiplied by; the taps of the first side by side."""
    i, j, k = (tap_matrices(n, m, coarse.dtype) for n, m in zip(coarse.shape[2:], shape, strict=True))
    return i.permute(1, 0, 2).reshape(i.shape[1], -1), j, k
