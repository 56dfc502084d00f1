"""CorrMLP: coarse-to-fine registration by MLPs that look at local correlations.

Meng et al., Correlation-aware Coarse-to-fine MLPs for Deformable Medical Image Registration, CVPR 2024; written afresh
from the paper and from facts about the authors' code (GPL-3.0), of which nothing is carried over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api import Card, Optimisation, Recipe, Setting
from regbench.errors import BadValueError
from regbench.spatial import resize_displacement, warp
from regbench_baselines.baseline import Baseline
from regbench_baselines.layers.blocks import Conv3, FlowHead, crop_to, pad_to_multiple, recomputed
from regbench_baselines.layers.correlation import with_correlation
from regbench_baselines.layers.pyramid import SLOPE, PyramidEncoder, official_encoder_key
from regbench_baselines.layers.window_mlp import WindowMLP
from regbench_baselines.official import Official

LEVELS = 4


class ChannelAttention(nn.Module):
    """Two convolutions, and weights for their channels from the global mean, around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = Conv3(channels, channels), Conv3(channels, channels)
        self.squeeze, self.excite = nn.Conv3d(channels, channels // 4, 1), nn.Conv3d(channels // 4, channels, 1)

    def forward(self, x: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """The block; channels last."""
        y = self.norm(x).permute(0, 4, 1, 2, 3)
        y = self.second(F.leaky_relu(self.first(y), SLOPE, inplace=True))
        share = self.excite(F.relu(self.squeeze(y.mean((2, 3, 4), keepdim=True)))).sigmoid()
        weighted: Tensor = y * share
        return x + weighted.permute(0, 2, 3, 4, 1)


class CorrelationBlock(nn.Module):
    """Two maps and their local correlation to one map, through the window MLP and the channel attention."""

    def __init__(self, channels: int, out: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.conv = Conv3(channels + 27 + channels, out)
        self.mlp, self.attention = WindowMLP(out), ChannelAttention(out)

    def forward(self, a: Float[Tensor, "b c i j k"], b: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b o i j k"]:
        """Features of the same resolution."""
        x = self.conv(with_correlation(a, b)).permute(0, 2, 3, 4, 1).contiguous()
        return recomputed(self.checkpointing, self._residual, x).permute(0, 4, 1, 2, 3)

    def _residual(self, x: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        y: Tensor = self.attention(self.mlp(x))
        return x + y


class Expand(nn.Module):
    """Twice the resolution at half the channels: a transposed convolution, then normalisation over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(channels, channels // 2, 2, stride=2)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b d x y z"]:
        """The finer map."""
        y: Tensor = self.norm(self.conv(x).permute(0, 2, 3, 4, 1))
        return y.permute(0, 4, 1, 2, 3)


class CorrMLPNet(nn.Module):
    """The network; sizes are padded to multiples of 8 inside, and cropped after."""

    def __init__(self, encoder: int = 8, decoder: int = 16, *, checkpointing: bool = False) -> None:
        """A network with new weights.

        Args:
            encoder: channels of the encoder at full resolution, doubled from level to level.
            decoder: channels of the decoder at full resolution, likewise.
            checkpointing: recompute the MLPs and the attention in the backward pass.
        """
        super().__init__()
        e, d = ([width * 2**level for level in range(LEVELS)] for width in (encoder, decoder))
        self.encoder = PyramidEncoder(e)
        self.cross = nn.ModuleList(CorrelationBlock(a, b, checkpointing) for a, b in zip(e, d, strict=True))
        self.fuse = nn.ModuleList(CorrelationBlock(b, b, checkpointing) for b in d[:-1])
        self.expand = nn.ModuleList(Expand(b) for b in d[1:])
        self.heads = nn.ModuleList(FlowHead(b) for b in d)

    def forward(
        self, moving: Float[Tensor, "b 1 i j k"], fixed: Float[Tensor, "b 1 i j k"]
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement at full resolution."""
        fixed_maps, moving_maps = (self.encoder(pad_to_multiple(image, 8)) for image in (fixed, moving))
        x = self.cross[-1](fixed_maps[-1], moving_maps[-1])
        u = self.heads[-1](x)
        for level in reversed(range(LEVELS - 1)):
            up = resize_displacement(u, fixed_maps[level].shape[2:])
            seen = self.cross[level](fixed_maps[level], warp(moving_maps[level], up))
            x = self.fuse[level](seen, self.expand[level](x))
            u = self.heads[level](x) + up
        return crop_to(u, fixed.shape[2:])


_OFFICIAL_LEVELS = {
    r"^cross\.(\d)": "Decoder.mlp_1{}",
    r"^fuse\.(\d)": "Decoder.mlp_2{}",
    r"^expand\.(\d)\.conv": "Decoder.upsample_{}.up_conv",
    r"^expand\.(\d)": "Decoder.upsample_{}",
    r"^heads\.(\d)": "Decoder.reghead_{}.reg_head",
    r"gates\.(\d)": "WinGmlpLayer_{}",
}
_OFFICIAL_PARTS = {
    ".mlp.shrink.": ".mlpLayer.reweight.fc1.",
    ".mlp.expand.": ".mlpLayer.reweight.fc2.",
    ".mlp.project.": ".mlpLayer.out_project.",
    ".mlp.": ".mlpLayer.",
    ".project_in.": ".in_project.",
    ".project_out.": ".out_project.",
    ".mix.": ".SpatialGatingUnit.Dense_0.",
    ".gate_norm.": ".SpatialGatingUnit.LayerNorm.",
    ".norm.": ".LayerNorm.",
    ".attention.first.": ".channel_attention_block.conv1.",
    ".attention.second.": ".channel_attention_block.conv2.",
    ".attention.squeeze.": ".channel_attention_block.channel_attention.Conv_0.",
    ".attention.excite.": ".channel_attention_block.channel_attention.Conv_1.",
    ".attention.": ".channel_attention_block.",
}


def _official_key(own: str) -> str:
    """The official name of a parameter.

    >>> _official_key("cross.0.mlp.gates.2.gate_norm.bias")
    'Decoder.mlp_11.mlpLayer.WinGmlpLayer_3.SpatialGatingUnit.LayerNorm.bias'
    """
    if own.startswith("encoder."):
        return f"Encoder.{official_encoder_key(own.removeprefix('encoder.'))}"
    for pattern, official in _OFFICIAL_LEVELS.items():
        if match := re.search(pattern, own):
            own = own.replace(match[0], official.format(int(match[1]) + 1))
    if "upsample" in own:
        return own
    for part, official in _OFFICIAL_PARTS.items():
        own = own.replace(part, official)
    return own.replace(".conv.", ".Conv.")


OFFICIAL = Official(
    name="CorrMLP",
    options={"in_channels": 1, "enc_channels": 8, "dec_channels": 16, "use_checkpoint": True},
    key_of=_official_key,
    unused=(r"(.*\.)?grid",),
)


def official_network(
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    legacy_windows: bool = False,  # noqa: ARG001 - all official networks are called alike
) -> CorrMLPNet:
    """The network with official weights: forward(moving, fixed) → displacement.

    Args:
        state_dict: of the official `CorrMLP`.
        config: the official options under their official names.
        legacy_windows: makes no difference; there is no window attention.

    Raises:
        UnknownNameError, BadValueError: for an option, or a value of one, that is not known.
        WeightsError: if the weights do not fit.
    """
    options = OFFICIAL.read(config)
    if options["in_channels"] != 1:
        raise BadValueError(f"CorrMLP: in_channels is implemented at 1 only, not {options['in_channels']}.")
    network = CorrMLPNet(options["enc_channels"], options["dec_channels"], checkpointing=options["use_checkpoint"])
    OFFICIAL.load(network, state_dict)
    return network


@dataclass(frozen=True, kw_only=True)
class CorrMLP(Baseline):
    """CorrMLP.

    Attributes:
        encoder_channels: of the encoder at full resolution; doubled from level to level.
        decoder_channels: of the decoder at full resolution; likewise.
        checkpointing: recompute MLPs and attention in the backward pass: half the memory for a tenth more time.
    """

    card: ClassVar[Card] = Card(
        title="CorrMLP",
        summary="Coarse-to-fine registration by window MLPs on features and their local correlation.",
        citation="""@inproceedings{meng2024corrmlp,
  author    = {Meng, Mingyuan and Feng, Dagan and Bi, Lei and Kim, Jinman},
  title     = {Correlation-aware Coarse-to-fine {MLPs} for Deformable Medical Image Registration},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {9645--9654},
  year      = {2024}
}""",
        origin="github.com/MungoMeng/Registration-CorrMLP @ cc0d85d",
        licence="GPL-3.0",
        differs=(
            "Written from the paper and from facts; no code of the origin is used.",
            "The window MLPs work on the whole map, their linear steps multiplied out: the same function, less memory.",
            "The correlation and its gradient are computed offset by offset, without 27 products in memory.",
            "Trained by the common recipe unless recipe=official (which has no segmentation term; here it gets 1).",
            "Sizes that are no multiple of 8 are padded inside and cropped after.",
            "In the quick preset it has half the channels, to save time on a CPU.",
        ),
    )
    official: ClassVar[Official] = OFFICIAL
    quick: ClassVar[Mapping[str, object]] = MappingProxyType(
        {"encoder_channels": 4, "decoder_channels": 8, "checkpointing": False}
    )

    encoder_channels: int = 8
    decoder_channels: int = 16
    checkpointing: bool = True

    def build(self, setting: Setting) -> CorrMLPNet:  # noqa: ARG002 - fits any grid
        """The network with new weights."""
        return CorrMLPNet(self.encoder_channels, self.decoder_channels, checkpointing=self.checkpointing)

    def official_recipe(self) -> Recipe:
        """Adam 1e-4, 100 epochs of 1000 random pairs, LNCC + penalty."""
        return Recipe(
            weights={"similarity": 1.0, "smooth": 1.0, "segmentation": 1.0},
            steps=100_000,
            optimisation=Optimisation(learning_rate=1e-4),
        )
