"""Parts that several networks share: the head that gives the field, padding to any size, upsampling inside a conv."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

HEAD_STD = 1e-5


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
            return super().forward(features.to(self.weight.dtype))


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
        return F.conv_transpose3d(coarse, kernel, stride=2, padding=1) + F.conv3d(skip, of_skip, self.bias, padding=1)


def pad_to_multiple(image: Float[Tensor, "b c i j k"], multiple: int) -> Float[Tensor, "b c x y z"]:
    """The image with zeros at the far ends, so that each size is a multiple."""
    padding = [end for size in reversed(image.shape[2:]) for end in (0, -size % multiple)]
    return F.pad(image, padding) if any(padding) else image


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
