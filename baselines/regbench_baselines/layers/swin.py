"""The Swin transformer of TransMorph and TransMatch: an encoder of four stages, and a stage across two maps.

Liu et al., Swin Transformer, ICCV 2021; Chen et al., TransMorph, Medical Image Analysis 2022. Maps of tokens are
(batch, i, j, k, channels) inside and (batch, channels, i, j, k) outside. Sizes need not be multiples of anything: the
patch embedding and each merging pad at the far end, and attention masks what its windows pad.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api.geometry import Shape
from regbench_baselines.layers.blocks import pad_to_multiple, recomputed
from regbench_baselines.layers.window_attention import TABLE_STD, QueriesFrom, WindowAttention
from regbench_baselines.layers.windows import WindowRules

AbsolutePosition = Literal["none", "learned", "sinusoidal"]

PATCH = 4
# Side of the learned map of positions, which is interpolated to the map of tokens.
POSITIONS = 56
OFFICIAL_NAMES = (
    (r"^embed\.", "patch_embed.proj."),
    (r"^embed_norm\.", "patch_embed.norm."),
    (r"^position_map$", "absolute_pos_embed"),
    (r"^stages\.", "layers."),
    (r"^merges\.(\d+)\.", r"layers.\1.downsample."),
    (r"^norms\.", "norm"),
    (r"\.attention\.position_table$", ".attn.relative_position_bias_table"),
    (r"\.attention\.", ".attn."),
    (r"\.(fc[12])\.", r".mlp.\1."),
)
# The offsets of the eight tokens that are merged, in the official order.
OCTANTS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class SwinOptions:
    """What the stages of a Swin transformer share.

    Attributes:
        channels: of the finest stage; each next one has twice as many.
        depths: blocks of each stage.
        heads: of each stage.
        window: sides of a window in tokens.
        mlp_ratio: hidden channels of a block's MLP, as a multiple.
        drop_path: probability to leave out a residual branch in training; rises from 0 at the first block to this.
        position_bias: a learned bias for each relative position.
        absolute_position: what is added to the embedded patches: nothing, a learned map, or sines and cosines.
        qkv_bias: the projections to queries, keys and values have a bias.
        patch_norm: LayerNorm after the patch embedding.
        rules: what happens at the edges of windows and maps.
        checkpointing: recompute each block's activations in the backward pass.
    """

    channels: int = 96
    depths: tuple[int, ...] = (2, 2, 4, 2)
    heads: tuple[int, ...] = (4, 4, 8, 8)
    window: Shape = (5, 6, 7)
    mlp_ratio: float = 4.0
    drop_path: float = 0.3
    position_bias: bool = True
    absolute_position: AbsolutePosition = "none"
    qkv_bias: bool = False
    patch_norm: bool = True
    rules: WindowRules = "masked"
    checkpointing: bool = False

    def drop_paths(self) -> list[list[float]]:
        """The probability of each block of each stage."""
        last = max(1, sum(self.depths) - 1)
        rates = iter(self.drop_path * block / last for block in range(sum(self.depths)))
        return [[next(rates) for _ in range(depth)] for depth in self.depths]


def official_encoder_key(own: str) -> str:
    """The official name of a parameter of `SwinEncoder`.

    >>> official_encoder_key("stages.2.blocks.0.attention.qkv.weight"), official_encoder_key("norms.1.bias")
    ('layers.2.blocks.0.attn.qkv.weight', 'norm1.bias')
    """
    for pattern, name in OFFICIAL_NAMES:
        own = re.sub(pattern, name, own)
    return own


def official_cross_key(own: str) -> str:
    """The official name of a parameter of `CrossAttention`.

    >>> official_cross_key("stage.blocks.1.fc1.bias"), official_cross_key("norm.bias")
    ('layers.0.blocks.1.mlp.fc1.bias', 'norm0.bias')
    """
    return official_encoder_key(re.sub(r"^stage\.", "stages.0.", re.sub(r"^norm\.", "norms.0.", own)))


def adaptive_window(shape: Sequence[int]) -> Shape:
    """The window for images of some size: size / 32, as TransMorph's author advises, but at least 2 to a side.

    >>> adaptive_window((160, 192, 224)), adaptive_window((128, 128, 32)), adaptive_window((64, 48, 80))
    ((5, 6, 7), (4, 4, 2), (2, 2, 3))
    """
    i, j, k = (max(2, -(-size // 32)) for size in shape)
    return i, j, k


class DropPath(nn.Module):
    """Leaves out a residual branch of a sample with some probability in training (stochastic depth)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """The branch, or zero; scaled so that its mean stays."""
        if not (self.training and self.probability):
            return branch
        kept = 1 - self.probability
        scale = branch.new_empty(len(branch), 1, 1, 1, 1).bernoulli_(kept).div_(kept)
        return branch.mul(scale)


class SwinBlock(nn.Module):
    """Attention and MLP, each on the normed tokens and added to them."""

    def __init__(
        self,
        channels: int,
        heads: int,
        options: SwinOptions,
        *,
        shifted: bool,
        drop_path: float,
        queries_from: QueriesFrom = "context",
    ) -> None:
        """A block with new weights; `options` gives the rest."""
        super().__init__()
        hidden = int(channels * options.mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WindowAttention(
            channels,
            heads,
            options.window,
            shifted=shifted,
            position_bias=options.position_bias,
            qkv_bias=options.qkv_bias,
            rules=options.rules,
            queries_from=queries_from,
        )
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, stream: Float[Tensor, "b i j k c"], context: Float[Tensor, "b i j k c"] | None = None
    ) -> Float[Tensor, "b i j k c"]:
        """The stream after the block; with a context, attention is across the two."""
        other = None if context is None else self.norm1(context)
        stream = stream + self.drop_path(self.attention(self.norm1(stream), other))
        fed: Tensor = stream + self.drop_path(self.fc2(F.gelu(self.fc1(self.norm2(stream)))))
        return fed


class PatchMerging(nn.Module):
    """Eight neighbouring tokens become one of twice the channels; odd sizes are padded with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduction = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, tokens: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b x y z d"]:
        """The coarser map."""
        padding = [end for size in reversed(tokens.shape[1:4]) for end in (0, size % 2)]
        tokens = F.pad(tokens, [0, 0, *padding]) if any(padding) else tokens
        eight = torch.cat([tokens[:, i::2, j::2, k::2] for i, j, k in OCTANTS], -1)
        merged: Tensor = self.reduction(self.norm(eight))
        return merged


class SwinStage(nn.Module):
    """Blocks with plain and shifted windows in turn."""

    def __init__(
        self,
        channels: int,
        heads: int,
        options: SwinOptions,
        drop_paths: Sequence[float],
        queries_from: QueriesFrom = "context",
    ) -> None:
        """A stage of as many blocks as `drop_paths` has entries."""
        super().__init__()
        self.checkpointing = options.checkpointing
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, options, shifted=n % 2 == 1, drop_path=rate, queries_from=queries_from)
            for n, rate in enumerate(drop_paths)
        )

    def forward(
        self, stream: Float[Tensor, "b i j k c"], context: Float[Tensor, "b i j k c"] | None = None
    ) -> Float[Tensor, "b i j k c"]:
        """The stream after all blocks; each block of a stage across two maps sees the same context."""
        inputs = () if context is None else (context,)
        for block in self.blocks:
            stream = recomputed(self.checkpointing, block, stream, *inputs)
        return stream


class SwinEncoder(nn.Module):
    """An image to features at ¼, ⅛, 1/16 and 1/32 of its resolution."""

    def __init__(self, inputs: int, options: SwinOptions, outputs: Sequence[int] = (0, 1, 2, 3)) -> None:
        """An encoder with new weights.

        Args:
            inputs: channels of the image.
            options: of the stages.
            outputs: the stages whose features are asked for.
        """
        super().__init__()
        widths = [options.channels * 2**level for level in range(len(options.depths))]
        self.embed = nn.Conv3d(inputs, options.channels, PATCH, stride=PATCH)
        self.embed_norm = nn.LayerNorm(options.channels) if options.patch_norm else nn.Identity()
        self.sinusoidal = options.absolute_position == "sinusoidal"
        self.position_map: nn.Parameter | None = None
        if options.absolute_position == "learned":
            self.position_map = nn.Parameter(torch.empty(1, options.channels, POSITIONS, POSITIONS, POSITIONS))
            nn.init.trunc_normal_(self.position_map, std=TABLE_STD)
        self.stages = nn.ModuleList(
            SwinStage(width, heads, options, rates)
            for width, heads, rates in zip(widths, options.heads, options.drop_paths(), strict=True)
        )
        self.merges = nn.ModuleList(PatchMerging(width) for width in widths[:-1])
        self.norms = nn.ModuleDict({str(level): nn.LayerNorm(widths[level]) for level in outputs})

    def forward(self, image: Float[Tensor, "b c i j k"]) -> list[Float[Tensor, "b _ _ _ _"]]:
        """The normed features of each stage that is asked for, finest first; sizes are rounded up."""
        tokens = self._with_position(self.embed_norm(self.embed(pad_to_multiple(image, PATCH)).movedim(1, -1)))
        features = []
        for level, stage in enumerate(self.stages):
            tokens = stage(tokens if level == 0 else self.merges[level - 1](tokens))
            if str(level) in self.norms:
                features.append(self.norms[str(level)](tokens).movedim(-1, 1))
        return features

    def _with_position(self, tokens: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """The tokens, with their absolute position added if the options say so."""
        if self.sinusoidal:
            return tokens + sinusoids(tokens)
        if self.position_map is None:
            return tokens
        fitted = F.interpolate(self.position_map, tokens.shape[1:4], mode="trilinear", align_corners=False)
        return tokens + fitted.movedim(1, -1)


def sinusoids(tokens: Float[Tensor, "b i j k c"]) -> Float[Tensor, "i j k c"]:
    """Sines, then cosines, of the place along each axis in turn, at wavelengths from 2π to 10⁴ · 2π tokens.

    Each axis has a third of the channels, rounded up to an even number; what is too much is cut off the last.
    """
    *shape, channels = tokens.shape[1:]
    each = 2 * -(-channels // 6)
    frequency = 1e4 ** -(torch.arange(0, each, 2, device=tokens.device, dtype=tokens.dtype) / each)
    encoded = []
    for axis, size in enumerate(shape):
        phase = torch.arange(size, device=tokens.device, dtype=tokens.dtype)[:, None] * frequency
        along = torch.cat([phase.sin(), phase.cos()], 1).view([size if a == axis else 1 for a in range(3)] + [each])
        encoded.append(along.expand(*shape, each))
    return torch.cat(encoded, -1)[..., :channels]


class CrossAttention(nn.Module):
    """Windowed cross-attention, MLP, shifted-window cross-attention, MLP, LayerNorm: one map takes up another.

    As `lwca` of TransMatch and of the code of Xu et al., IPMI 2025, where queries come from the context; their
    equation 2 has queries from the stream (`queries_from="stream"`).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        options: SwinOptions,
        *,
        drop_paths: Sequence[float] = (0.0, 0.0),
        queries_from: QueriesFrom = "context",
    ) -> None:
        """A stage with new weights.

        Args:
            channels: of both maps.
            heads: number of heads.
            options: window and the rest; its own channels, depths and heads are not looked at.
            drop_paths: one for each block.
            queries_from: which map asks.
        """
        super().__init__()
        self.stage = SwinStage(channels, heads, options, drop_paths, queries_from)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, stream: Float[Tensor, "b c i j k"], context: Float[Tensor, "b c i j k"]
    ) -> Float[Tensor, "b c i j k"]:
        """The stream with what it takes up from the context."""
        taken: Tensor = self.norm(self.stage(stream.movedim(1, -1), context.movedim(1, -1)))
        return taken.movedim(-1, 1)
