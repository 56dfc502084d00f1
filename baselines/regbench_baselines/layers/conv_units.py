"""Convolution, instance normalisation, LeakyReLU: the unit of TransMorph's and TransMatch's decoders.

On a CPU features are kept channels-last here: convolutions with few channels at full resolution are twice as fast so.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from regbench_baselines.layers.blocks import NORM_EPSILON, conv3, instance_norm
from regbench_baselines.layers.upsampled_conv import upsampled_conv

SLOPE = 0.01
# Bytes of unfolded patches at a time.
PATCH_BYTES = 2**23


class ConvUnit(nn.Module):
    """3³ convolution without bias → instance normalisation → LeakyReLU(0.01)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b o i j k"]:
        """Features of the same size."""
        return norm_act(_conv(features, self.conv.weight))


class ImageUnit(ConvUnit):
    """A `ConvUnit` on images, which want no gradient."""

    def forward(self, features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b o i j k"]:
        """Features of the same size."""
        return norm_act(image_conv(features, self.conv.weight))


class JoinedUnit(nn.Module):
    """A `ConvUnit` of cat[trilinear ×2 of `coarse`, `skips`...]; nothing is joined or (on a CPU) upsampled."""

    def __init__(self, coarse: int, skip: int, outputs: int) -> None:
        """A unit with new weights, for `coarse` channels to be upsampled and `skip` channels beside them."""
        super().__init__()
        self.conv = nn.Conv3d(coarse + skip, outputs, 3, padding=1, bias=False)

    def forward(
        self, coarse: Float[Tensor, "b c i j k"], *skips: Float[Tensor, "b _ x y z"], shape: Sequence[int]
    ) -> Float[Tensor, "b o x y z"]:
        """Features on a grid of `shape`: that of the skips, twice that of `coarse` or one less."""
        channels = [part.shape[1] for part in (coarse, *skips)]
        weight, *weights = torch.split(self.conv.weight, channels, 1)
        result = favoured_format(upsampled_conv(coarse, weight, shape))
        for skip, weight in zip(skips, weights, strict=True):
            result = result + _conv(skip, weight)
        return norm_act(result)


def _lean(features: Tensor) -> bool:
    """Whether the functions of this module that are written for a CPU take these features."""
    own = features.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return features.device.type == "cpu" and own


def favoured_format(features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
    """The same features, channels-last on a CPU and contiguous elsewhere."""
    return features.contiguous(memory_format=torch.channels_last_3d if _lean(features) else torch.contiguous_format)


def _conv(features: Float[Tensor, "b c i j k"], weight: Float[Tensor, "o c 3 3 3"]) -> Float[Tensor, "b o i j k"]:
    """A 3³ convolution with padding 1, in the favoured format; in float64 on a CPU a few planes at a time.

    There torch unfolds the map into all its patches, 27 times its size.
    """
    features = favoured_format(features)
    if features.device.type != "cpu" or features.dtype != torch.float64:
        return conv3(features, weight)
    _, channels, i, j, k = features.shape
    step = max(1, PATCH_BYTES // (27 * channels * j * k * features.element_size()))
    padded = F.pad(features, (0, 0, 0, 0, 1, 1))
    slabs = [padded[:, :, start : min(start + step, i) + 2] for start in range(0, i, step)]
    return torch.cat([F.conv3d(slab, weight, padding=(0, 1, 1)) for slab in slabs], 2)


def norm_act(features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
    """Instance normalisation without affine weights, then LeakyReLU(0.01); may write to its input."""
    if _lean(features):
        result: Tensor = _NormAct.apply(favoured_format(features))  # type: ignore[no-untyped-call]
        return result
    return F.leaky_relu(instance_norm(features), SLOPE, inplace=True)


def _rows(features: Tensor) -> Tensor:
    """(b, voxels, c), a view of channels-last features."""
    return features.permute(0, 2, 3, 4, 1).reshape(len(features), -1, features.shape[1])


class _NormAct(torch.autograd.Function):
    """In place, and only the result is kept: what was normalised follows from it."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        rows = _rows(features)
        rows.sub_(rows.mean(1, keepdim=True))
        scale = torch.linalg.vecdot(rows, rows, dim=1).div_(rows.shape[1]).add_(NORM_EPSILON).rsqrt_().unsqueeze(1)
        F.leaky_relu_(rows.mul_(scale), SLOPE)
        ctx.mark_dirty(features)
        ctx.save_for_backward(features, scale)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            features, scale = ctx.saved_tensors
            result = _rows(features)
            normed = F.leaky_relu(result, 1 / SLOPE)
            rows = _rows(gradients[0].contiguous(memory_format=torch.channels_last_3d))
            rows = torch.ops.aten.leaky_relu_backward(rows, result, SLOPE, True)
            along = torch.linalg.vecdot(rows, normed, dim=1).div_(rows.shape[1]).unsqueeze(1)
            rows = rows.sub_(rows.mean(1, keepdim=True)).sub_(normed.mul_(along)).mul_(scale)
            of_features: Tensor = rows.view(len(features), *features.shape[2:], -1).permute(0, 4, 1, 2, 3)
            return of_features


def image_conv(image: Float[Tensor, "b c i j k"], weight: Float[Tensor, "o c 3 3 3"]) -> Float[Tensor, "b o i j k"]:
    """A 3³ convolution with padding 1 of an image that has few channels; no gradient for the image.

    On a CPU as matrix products over unfolded patches: torch's convolutions are slow at one or two input channels.
    """
    if not _lean(image):
        return F.conv3d(image, weight, padding=1)
    result: Tensor = _ImageConv.apply(image, weight)  # type: ignore[no-untyped-call]
    return result


class _ImageConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        outputs, shape = len(weight), (len(image), len(weight), *image.shape[2:])
        result = torch.empty(shape, dtype=image.dtype, memory_format=torch.channels_last_3d)
        rows, mixing = result.permute(0, 2, 3, 4, 1), weight.reshape(outputs, -1).t()
        for sample, planes, patches in _patches(image):
            torch.mm(patches.t(), mixing, out=rows[sample, planes].view(-1, outputs))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        with torch.autocast("cpu", enabled=False):
            (image,) = ctx.saved_tensors
            rows = gradients[0].permute(0, 2, 3, 4, 1).contiguous()
            outputs = rows.shape[-1]
            of_weight = rows.new_zeros(outputs, image.shape[1] * 27)
            for sample, planes, patches in _patches(image):
                of_weight.addmm_(rows[sample, planes].view(-1, outputs).t(), patches.t())
            return None, of_weight.view(outputs, -1, 3, 3, 3)


def _patches(image: Tensor) -> Any:
    """Sample, planes along axis 0, and their patches (channels · 27, voxels)."""
    _, channels, i, j, k = image.shape
    step = max(1, PATCH_BYTES // (27 * channels * j * k * image.element_size()))
    padded = F.pad(image, (1, 1, 1, 1, 1, 1))
    for sample, volume in enumerate(padded):
        for start in range(0, i, step):
            stop = min(start + step, i)
            windows = volume[:, start : stop + 2].unfold(1, 3, 1).unfold(2, 3, 1).unfold(3, 3, 1)
            yield sample, slice(start, stop), windows.permute(0, 4, 5, 6, 1, 2, 3).reshape(27 * channels, -1)
