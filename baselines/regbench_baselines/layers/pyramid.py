"""A plain convolutional encoder at four scales: CorrMLP's, which the SAM-assisted registration network shares."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regbench_baselines.layers.blocks import Conv3, instance_norm

SLOPE = 0.2


class ConvPair(nn.Module):
    """Twice: 3³ convolution, LeakyReLU, then instance normalisation (in this order)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first, self.second = Conv3(channels, out), Conv3(out, out)

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b o i j k"]:
        """Features of the same resolution."""
        for conv in (self.first, self.second):
            x = instance_norm(F.leaky_relu(conv(x), SLOPE, inplace=True))
        return x


class PyramidEncoder(nn.Module):
    """Features at 1, ½, ¼ and ⅛ of the resolution; sizes must be multiples of 8."""

    def __init__(self, widths: Sequence[int], channels: int = 1) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ConvPair(a, b) for a, b in zip((channels, *widths), widths, strict=False))

    def forward(self, image: Float[Tensor, "b c i j k"]) -> list[Float[Tensor, "b _ _ _ _"]]:
        """One map a level, finest first."""
        maps: list[Tensor] = []
        for level in self.levels:
            maps.append(level(F.avg_pool3d(maps[-1], 2) if maps else image))
        return maps


def official_encoder_key(own: str) -> str:
    """The official name of a parameter of the encoder.

    >>> official_encoder_key("levels.0.second.weight")
    'Convblock_1.Conv_2.weight'
    """
    _, level, which, kind = own.split(".")
    return f"Convblock_{int(level) + 1}.Conv_{1 if which == 'first' else 2}.{kind}"
