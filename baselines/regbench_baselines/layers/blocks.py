"""Parts that several networks share: convolutions, the head that gives the field, padding to any size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

HEAD_STD = 1e-5
NORM_EPSILON = 1e-5
"""Added to variances."""

# torch sends a float32 convolution of one item to oneDNN only if channels · i · j exceed this; below, it takes a path
# that is 3-8 times slower (measured on x86, torch 2.13).
FEW = 20480


def conv3(
    x: Float[Tensor, "b c i j k"], weight: Float[Tensor, "o c 3 3 3"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "b o i j k"]:
    """A 3³ convolution with padding 1: `F.conv3d`, kept on the fast path of a CPU.

    A small map goes in as a batch of two overlapping halves, since batches of more than one always take that path.
    """
    size = x.shape[2]
    small = x.shape[0] == 1 and x.shape[1] * size * x.shape[3] <= FEW and size > 1
    if not small or x.device.type != "cpu" or x.dtype != torch.float32:
        return F.conv3d(x, weight, bias, padding=1)
    half = -(-size // 2)
    padded = F.pad(x, (0, 0, 0, 0, 1, 1))
    halves = torch.cat([padded[:, :, : half + 2], padded[:, :, size - half :]])
    near, far = F.conv3d(halves, weight, bias, padding=(0, 1, 1)).chunk(2)
    return torch.cat([near, far[:, :, 2 * half - size :]], 2)


class Conv3(nn.Conv3d):
    """A 3³ convolution with padding 1, as a module."""

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__(channels, out, 3, padding=1, bias=bias)

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b o i j k"]:
        """The convolution."""
        return conv3(x, self.weight, self.bias)


class _LeanLeakyReLU(torch.autograd.Function):
    """LeakyReLU that overwrites its input on the way forth and the gradient on the way back."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, slope: float) -> Tensor:
        F.leaky_relu_(y, slope)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        own = gradient if gradient.stride() == y.stride() else gradient.clone(memory_format=torch.preserve_format)
        return torch.ops.aten.leaky_relu_backward.grad_input(own, y, ctx.slope, True, grad_input=own), None


def lean_leaky_relu(y: Float[Tensor, "b c i j k"], slope: float) -> Float[Tensor, "b c i j k"]:
    """LeakyReLU of a convolution's output, in its place.

    The gradient that comes back is overwritten too, which saves the largest buffer of a U-Net's backward pass; what
    takes the result must therefore hand over a gradient of its own making, as convolutions and pooling do.
    """
    if not y.requires_grad:
        return F.leaky_relu_(y, slope)
    activated: Tensor = _LeanLeakyReLU.apply(y, slope)  # type: ignore[no-untyped-call]
    return activated


def fast_layout(x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
    """Channels last on a CPU, where convolutions without normalisation between them run 1.3 times as fast so."""
    return x.contiguous(memory_format=torch.channels_last_3d) if x.device.type == "cpu" else x


def instance_norm(x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
    """Each channel of each item to mean 0 and variance 1; a map of a single voxel becomes zero."""
    return F.instance_norm(x, eps=NORM_EPSILON) if x[0, 0].numel() > 1 else x - x


class FlowHead(nn.Conv3d):
    """A 3³ convolution to a displacement; starts near zero, and is computed in the weights' own precision.

    Under autocast a field in bfloat16 would be good to 1/256 of its length only.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3, 3, padding=1)
        nn.init.normal_(self.weight, std=HEAD_STD)
        assert self.bias is not None  # noqa: S101 - for the type checker
        nn.init.zeros_(self.bias)

    def forward(self, features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b 3 i j k"]:
        """Features to a displacement in voxels of their grid."""
        with torch.autocast(features.device.type, enabled=False):
            return conv3(features.to(self.weight.dtype), self.weight, self.bias).contiguous()


class UpsampledConv(nn.Conv3d):
    """conv(cat[nearest ×2 of `coarse`, `skip`]), 3³, padding 1, without making the upsampled or the joined tensor.

    On a map whose voxels come in pairs, a 3-tap kernel (a, b, c) reads only two distinct values a place:
    it is the transposed convolution of stride 2 with the four taps (c, b + c, a + b, a).
    """

    def __init__(self, coarse: int, skip: int, out: int) -> None:
        super().__init__(coarse + skip, out, 3, padding=1)
        self.coarse = coarse
        taps = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self.register_buffer("taps", taps, persistent=False)
        self.taps: Tensor

    def forward(  # type: ignore[override]
        self, coarse: Float[Tensor, "b c i j k"], skip: Float[Tensor, "b d x y z"]
    ) -> Float[Tensor, "b o x y z"]:
        """The convolution at the resolution of `skip`, twice that of `coarse`."""
        of_coarse, of_skip = self.weight[:, : self.coarse], self.weight[:, self.coarse :]
        kernel = torch.einsum("ocxyz,ix,jy,kz->coijk", of_coarse, self.taps, self.taps, self.taps)
        return conv3(skip, of_skip, self.bias).add_(F.conv_transpose3d(coarse, kernel, stride=2, padding=1))


def pad_to_multiple(image: Shaped[Tensor, "b c i j k"], multiple: int) -> Shaped[Tensor, "b c x y z"]:
    """The image with zeros at the far ends, so that each size is a multiple."""
    padding = [end for size in reversed(image.shape[2:]) for end in (0, -size % multiple)]
    return F.pad(image, padding) if any(padding) else image


def halved(image: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c x y z"]:
    """The mean of the 3³ voxels around every second one, zeros outside included; sizes are rounded up."""
    return F.avg_pool3d(F.pad(image, (1,) * 6), 3, 2)  # padding of its own torch refuses on axes of 1 or 2 voxels


def crop_to(field: Float[Tensor, "b c x y z"], shape: Sequence[int]) -> Float[Tensor, "b c i j k"]:
    """The near part of a padded field."""
    i, j, k = shape
    return field[:, :, :i, :j, :k]


def recomputed(enabled: bool, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function(*inputs)`; if enabled and gradients are wanted, its activations are made again in the backward pass."""
    if not (enabled and torch.is_grad_enabled()):
        return function(*inputs)
    output: Tensor = checkpoint(function, *inputs, use_reentrant=False)
    return output
