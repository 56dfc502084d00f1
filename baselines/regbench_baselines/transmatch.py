"""TransMatch: one Swin encoder for both scans, cross-attention between them at each level, a convolutional decoder.

Chen et al., TransMatch: A Transformer-Based Multilevel Dual-Stream Feature Matching Network for Unsupervised
Deformable Image Registration, IEEE TMI 2024. Written afresh from the facts of the authors' code.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api import Card, Optimisation, Recipe, Setting
from regbench.errors import BadValueError
from regbench_baselines.baseline import Baseline
from regbench_baselines.layers.blocks import FlowHead, halved, recomputed
from regbench_baselines.layers.conv_units import ImageUnit
from regbench_baselines.layers.swin import (
    CrossAttention,
    SwinEncoder,
    SwinOptions,
    adaptive_window,
    official_cross_key,
    official_encoder_key,
)
from regbench_baselines.layers.upsampled_conv import upsampled_conv
from regbench_baselines.layers.window_attention import set_rules
from regbench_baselines.layers.windows import WindowRules
from regbench_baselines.official import Official
from regbench_baselines.transmorph import DecoderBlock, swin_options


class UpsampledHead(FlowHead):
    """A displacement at twice the resolution of the features: 3³ convolution of their trilinear upsampling."""

    def forward(  # type: ignore[override]
        self, features: Float[Tensor, "b c i j k"], shape: Sequence[int]
    ) -> Float[Tensor, "b 3 x y z"]:
        """The displacement on a grid of `shape`, in its voxels, in the weights' own precision."""
        with torch.autocast(features.device.type, enabled=False):
            field = upsampled_conv(features.to(self.weight.dtype), self.weight, shape)
            return field if self.bias is None else field + self.bias.view(-1, 1, 1, 1)


def as_sampled_officially(field: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, "b 3 i j k"]:
    """The displacement by which the authors' sampler moves a scan, given a field; not the identity at zero.

    It normalises coordinates as if the outermost voxel centres were the borders, and samples as if the edges were: the
    point x + u is read at (x + u) n / (n − 1) − ½.
    """
    parts = []
    for axis, part in enumerate(field.unbind(1), 2):
        size = field.shape[axis]
        place = torch.arange(size, device=field.device, dtype=field.dtype).view(
            [-1 if a == axis else 1 for a in (2, 3, 4)]
        )
        parts.append((place + part) * (size / max(1, size - 1)) - 0.5 - place)
    return torch.stack(parts, 1)


class TransMatchNet(nn.Module):
    """The network, without what the authors' constructor builds and never uses. Any input size."""

    def __init__(self, options: SwinOptions, *, official_sampler: bool = False) -> None:
        """A network with new weights.

        Args:
            options: of the transformer.
            official_sampler: the displacement is the one that the authors' sampler makes of what the network gives.
        """
        super().__init__()
        self.official_sampler = official_sampler
        if len(options.depths) != 4:
            raise BadValueError(f"TransMatch has four stages; depths are given for {len(options.depths)}.")
        self.checkpointing = options.checkpointing
        c, drop_paths = options.channels, options.drop_paths()[0]
        self.encoder = SwinEncoder(1, options)
        self.cross = nn.ModuleList(
            CrossAttention(c * 2**level, options.heads[0], options, drop_paths=drop_paths) for level in range(4)
        )
        self.ups = nn.ModuleList(DecoderBlock(2 * n, 2 * n, n) for n in (4 * c, 2 * c, c))
        self.ups.append(DecoderBlock(c, c // 2, c // 2))
        self.half_skip = ImageUnit(2, c // 2)
        self.head = UpsampledHead(c // 2)

    def forward(
        self, moving: Float[Tensor, "b 1 i j k"], fixed: Float[Tensor, "b 1 i j k"]
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement at full resolution."""
        full = tuple(moving.shape[2:])
        shapes = [tuple(-(-n // 2**level) for n in full) for level in (4, 3, 2, 1)]
        features, *matched = self.matched(self.encoder(torch.cat([moving, fixed])))[::-1]
        skips = [both.chunk(2) for both in matched]
        skips.append((self.half_skip(halved(torch.cat([moving, fixed], 1))),))
        for up, beside, shape in zip(self.ups, skips, shapes, strict=True):
            features = recomputed(self.checkpointing, partial(up, shape=shape), features, *beside)
        field: Tensor = self.head(features, full)
        return as_sampled_officially(field) if self.official_sampler else field

    def matched(self, both: Sequence[Float[Tensor, "b2 _ _ _ _"]]) -> list[Float[Tensor, "_ _ _ _ _"]]:
        """Each level's features after looking at the other scan.

        Args:
            both: features of each level, finest first; the moving scans of the batch, then the fixed ones.

        Returns:
            The same, but at the coarsest level of the moving scans only: nothing asks for the fixed ones.
        """
        results = []
        for level, (cross, features) in enumerate(zip(self.cross, both, strict=True)):
            moving, fixed = features.chunk(2)
            one_way = level == len(both) - 1
            stream = moving if one_way else features
            results.append(cross(stream, fixed if one_way else torch.cat([fixed, moving])))
        return results


def _official_key(own: str) -> str:
    """The official name of a parameter.

    >>> _official_key("encoder.norms.0.bias"), _official_key("cross.2.norm.bias")
    ('moving_lwsa.transformer.norm0.bias', 'lwca3.transformer.norm0.bias')
    >>> _official_key("ups.0.first.conv.weight"), _official_key("ups.3.first.conv.weight")
    ('up0.conv1.0.weight', 'up3.conv3.0.weight')
    """
    if own.startswith("encoder."):
        return f"moving_lwsa.transformer.{official_encoder_key(own.removeprefix('encoder.'))}"
    if cross := re.match(r"cross\.(\d)\.", own):
        return f"lwca{int(cross[1]) + 1}.transformer.{official_cross_key(own[cross.end() :])}"
    part, _, kind = own.rpartition(".")
    if block := re.fullmatch(r"ups\.(\d)\.(first|second)\.conv", part):
        # The official block has one first convolution for two skips, and another for one skip.
        first = 3 if block[1] == "3" else 1
        return f"up{block[1]}.conv{first if block[2] == 'first' else 2}.0.{kind}"
    return f"{'c1.0' if part == 'half_skip.conv' else 'reg_head.0'}.{kind}"


OFFICIAL = Official(
    name="TransMatch",
    options={
        "if_transskip": True,
        "if_convskip": True,
        "patch_size": 4,
        "in_chans": 1,
        "embed_dim": 96,
        "depths": (2, 2, 4, 2),
        "num_heads": (4, 4, 8, 8),
        "window_size": (5, 6, 5),
        "mlp_ratio": 4,
        "pat_merg_rf": 4,
        "qkv_bias": False,
        "drop_rate": 0,
        "drop_path_rate": 0.3,
        "ape": False,
        "spe": False,
        "patch_norm": True,
        "use_checkpoint": False,
        "out_indices": (0, 1, 2, 3),
        "reg_head_chan": 16,
        "img_size": (160, 192, 160),
    },
    key_of=_official_key,
    unused=(
        r"fixed_lwsa\..*",
        r"moving_lwsa\.c[12]\.0\.weight",
        r"c2\.0\.weight",
        r"lwca\d\.transformer\.norm[123]\.(weight|bias)",
        r"up[012]\.conv3\.0\.weight",
        r"up3\.conv1\.0\.weight",
        r"up4\.conv[123]\.0\.weight",
        r".*\.relative_position_index",
    ),
)
ONLY_AT_DEFAULT = (
    "if_transskip",
    "if_convskip",
    "patch_size",
    "in_chans",
    "pat_merg_rf",
    "drop_rate",
    "ape",
    "spe",
    "out_indices",
)


def official_network(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any], *, legacy_windows: bool = False
) -> TransMatchNet:
    """The network with official weights: forward(moving, fixed) → displacement.

    The authors warp by a sampler of their own, which is not the identity at a zero field: it scales positions about the
    centre by n / (n − 1) and mixes in zeros at the border. The displacement given here is what their network gives;
    `as_sampled_officially` makes of it the one by which they warp.

    Args:
        state_dict: of the official `TransMatch`, with or without its buffers and its unused parameters.
        config: the official options under their official names.
        legacy_windows: windows are put back in the order of the authors' code; True is right for every checkpoint that
            their repository has trained so far.

    Raises:
        UnknownNameError, BadValueError: for an option, or a value of one, that is not known.
        WeightsError: if the weights do not fit.
    """
    _, swin = swin_options(OFFICIAL, config, ONLY_AT_DEFAULT, legacy_windows=legacy_windows)
    network = TransMatchNet(swin)
    OFFICIAL.load(network, state_dict)
    return network.eval()


@dataclass(frozen=True, kw_only=True)
class TransMatch(Baseline):
    """TransMatch.

    Attributes:
        channels: of the finest stage of the transformer.
        window: sides of a window in tokens; None: size / 32, at least 2.
        window_rules: "masked": padding of windows is masked out, thin maps have thin windows; "official": padding takes
            part; "legacy": as the authors' code, which also puts windows back in a shuffled order; None: "legacy" for
            the authors' weights, else "masked".
        official_sampler: scans are warped as by the authors' sampler, whose zero field is not the identity; None: for
            the authors' weights only.
    """

    card: ClassVar[Card] = Card(
        title="TransMatch",
        summary="One Swin encoder for both scans, windowed cross-attention at four levels, a convolutional decoder.",
        citation="""@article{chen2024transmatch,
  author  = {Chen, Zeyuan and Zheng, Yuanjie and Gee, James C.},
  title   = {{TransMatch}: A Transformer-Based Multilevel Dual-Stream Feature Matching Network for Unsupervised
             Deformable Image Registration},
  journal = {IEEE Transactions on Medical Imaging},
  volume  = {43},
  number  = {1},
  pages   = {15--27},
  year    = {2024}
}""",
        origin="github.com/tzayuan/TransMatch_TMI @ cb30a9c, class TransMatch",
        licence="none stated in a file; the README's badge says MIT",
        differs=(
            "Windows are put back where they were taken from; the authors' code shuffles them, and so do their weights "
            "here, and window_rules=legacy.",
            "The window is size / 32, at least 2; the authors set it by hand (5, 6, 5 at 160×192×160).",
            "Any size: halves are rounded up, and padding of windows is masked out of attention.",
            "One encoder sees both scans, as in the authors' code; the second one there, and all that is built but "
            "never used (37 % of the parameters), is left out.",
            "Warped by a sampler whose zero field is the identity; the authors' is not, and goes with their weights.",
            "Trained by the common recipe unless recipe=official (which has no segmentation term; here it gets 1).",
        ),
    )
    official: ClassVar[Official] = OFFICIAL

    channels: int = 96
    window: tuple[int, int, int] | None = None
    window_rules: WindowRules | None = None
    official_sampler: bool | None = None

    def build(self, setting: Setting) -> TransMatchNet:
        """The network with new weights."""
        options = SwinOptions(
            channels=self.channels,
            window=self.window or adaptive_window(setting.shape),
            rules=self.window_rules or "masked",
            checkpointing=self.checkpointing,
        )
        return TransMatchNet(options, official_sampler=bool(self.official_sampler))

    def keep_official_rules(self, network: nn.Module) -> None:
        """Official weights were trained with shuffled windows, and to be warped by the authors' sampler."""
        set_rules(network, self.window_rules or "legacy")
        if isinstance(network, TransMatchNet) and self.official_sampler is None:
            network.official_sampler = True

    def official_recipe(self) -> Recipe:
        """LNCC 1, penalty 4, both directions, Adam 4e-4 with AMSGrad, 1400 epochs; masks, which it has not, weigh 1."""
        return Recipe(
            weights={"similarity": 1.0, "smooth": 4.0, "segmentation": 1.0},
            epochs=1400,
            both_directions=True,
            optimisation=Optimisation(learning_rate=4e-4, amsgrad=True),
        )
