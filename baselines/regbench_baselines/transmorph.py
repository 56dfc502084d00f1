"""TransMorph: a Swin transformer looks at the stacked pair, a convolutional decoder gives the displacement.

Chen et al., TransMorph: Transformer for unsupervised medical image registration, Medical Image Analysis 2022. Written
afresh from the facts of the authors' code (MIT).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api import Card, Optimisation, Recipe, Setting
from regbench.errors import BadValueError
from regbench_baselines.baseline import Baseline
from regbench_baselines.layers.blocks import FlowHead, halved, recomputed
from regbench_baselines.layers.conv_units import ConvUnit, ImageUnit, JoinedUnit
from regbench_baselines.layers.swin import (
    AbsolutePosition,
    SwinEncoder,
    SwinOptions,
    adaptive_window,
    official_encoder_key,
)
from regbench_baselines.layers.upsampled_conv import upsample
from regbench_baselines.layers.window_attention import set_rules
from regbench_baselines.layers.windows import WindowRules
from regbench_baselines.official import Official

FINEST = 16
Variant = Literal["tiny", "small", "base", "large"]
VARIANTS: Mapping[Variant, SwinOptions] = {
    "tiny": SwinOptions(channels=6, heads=(2, 2, 4, 4)),
    "small": SwinOptions(channels=48, heads=(4, 4, 4, 4)),
    "base": SwinOptions(),
    "large": SwinOptions(channels=128, depths=(2, 2, 12, 2), heads=(4, 4, 8, 16)),
}


class DecoderBlock(nn.Module):
    """Upsampling ×2, the skips beside it, and two convolutions."""

    def __init__(self, coarse: int, skip: int, outputs: int) -> None:
        """A block with new weights, for `coarse` channels to be upsampled and `skip` channels beside them."""
        super().__init__()
        self.first, self.second = JoinedUnit(coarse, skip, outputs), ConvUnit(outputs, outputs)

    def forward(
        self, coarse: Float[Tensor, "b c i j k"], *skips: Float[Tensor, "b _ x y z"], shape: tuple[int, ...]
    ) -> Float[Tensor, "b o x y z"]:
        """Features on a grid of `shape`, that of the skips."""
        features: Tensor = self.second(self.first(coarse, *skips, shape=shape))
        return features


class TransMorphNet(nn.Module):
    """The network. Any input size: maps are halved with rounding up, and the decoder crops accordingly."""

    def __init__(
        self,
        options: SwinOptions,
        *,
        conv_skips: bool = True,
        transformer_skips: bool = True,
        half_resolution: bool = False,
        finest: int = FINEST,
    ) -> None:
        """A network with new weights.

        Args:
            options: of the transformer.
            conv_skips: features of two convolutions, at full and half resolution, go to the decoder.
            transformer_skips: the three finer stages of the transformer go to the decoder.
            half_resolution: the decoder stops at half resolution, and its field is upsampled (its values are not
                multiplied), as in the authors' variant for the OASIS data.
            finest: channels of the last decoder block.
        """
        super().__init__()
        if len(options.depths) != 4:
            raise BadValueError(f"TransMorph has four stages; depths are given for {len(options.depths)}.")
        self.conv_skips, self.transformer_skips = conv_skips, transformer_skips
        self.half_resolution, self.checkpointing = half_resolution, options.checkpointing
        c = options.channels
        self.encoder = SwinEncoder(2, options, outputs=(0, 1, 2, 3) if transformer_skips else (3,))
        widths = [8 * c, 4 * c, 2 * c, c, finest if half_resolution else c // 2, finest][: 5 if half_resolution else 6]
        skips = [n if transformer_skips else 0 for n in (4 * c, 2 * c, c)]
        skips += [n if conv_skips else 0 for n in (c // 2, finest)]
        self.ups = nn.ModuleList(
            DecoderBlock(a, skip, b) for a, b, skip in zip(widths, widths[1:], skips, strict=False)
        )
        self.half_skip = ImageUnit(2, c // 2) if conv_skips else None
        self.full_skip = ImageUnit(2, finest) if conv_skips and not half_resolution else None
        self.head = FlowHead(finest)

    def forward(
        self, moving: Float[Tensor, "b 1 i j k"], fixed: Float[Tensor, "b 1 i j k"]
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement at full resolution."""
        pair = torch.cat([moving, fixed], 1)
        full = tuple(pair.shape[2:])
        shapes = [tuple(-(-n // 2**level) for n in full) for level in (4, 3, 2, 1, 0)]
        *skips, features = self.encoder(pair)
        skips = skips[::-1] if self.transformer_skips else [None] * 3
        skips.append(self.half_skip(halved(pair)) if self.half_skip else None)
        skips.append(self.full_skip(pair) if self.full_skip else None)
        for up, skip, shape in zip(self.ups, skips, shapes, strict=False):
            beside = [] if skip is None else [skip]
            features = recomputed(self.checkpointing, partial(up, shape=shape), features, *beside)
        field: Tensor = self.head(features)
        return upsample(field, full) if self.half_resolution else field


def _official_key(own: str) -> str:
    """The official name of a parameter.

    >>> _official_key("encoder.norms.0.weight"), _official_key("ups.2.second.conv.weight"), _official_key("head.bias")
    ('transformer.norm0.weight', 'up2.conv2.0.weight', 'reg_head.0.bias')
    """
    if own.startswith("encoder."):
        return f"transformer.{official_encoder_key(own.removeprefix('encoder.'))}"
    names = {"half_skip.conv": "c1.0", "full_skip.conv": "c2.0", "head": "reg_head.0"}
    part, _, kind = own.rpartition(".")
    block = re.fullmatch(r"ups\.(\d)\.(first|second)\.conv", part)
    return f"up{block[1]}.conv{1 + (block[2] == 'second')}.0.{kind}" if block else f"{names[part]}.{kind}"


OFFICIAL = Official(
    name="TransMorph",
    options={
        "if_transskip": True,
        "if_convskip": True,
        "patch_size": 4,
        "in_chans": 2,
        "embed_dim": 96,
        "depths": (2, 2, 4, 2),
        "num_heads": (4, 4, 8, 8),
        "window_size": (5, 6, 7),
        "mlp_ratio": 4,
        "pat_merg_rf": 4,
        "qkv_bias": False,
        "drop_rate": 0,
        "drop_path_rate": 0.3,
        "ape": False,
        "spe": False,
        "rpe": True,
        "patch_norm": True,
        "use_checkpoint": False,
        "out_indices": (0, 1, 2, 3),
        "reg_head_chan": 16,
        "img_size": (160, 192, 224),
        "pos_embed_method": "relative",
    },
    key_of=_official_key,
    unused=(
        r"spatial_trans\.grid",
        r".*\.relative_position_(index|bias_table)",
        r"transformer\.norm[012]\.(weight|bias)",
        r"c[12]\.0\.weight",
    ),
)
ONLY_AT_DEFAULT = ("patch_size", "in_chans", "pat_merg_rf", "drop_rate", "out_indices", "pos_embed_method")


def swin_options(
    official: Official, config: Mapping[str, Any], only_at_default: tuple[str, ...], *, legacy_windows: bool
) -> tuple[dict[str, Any], SwinOptions]:
    """All official options, and those of the transformer in regbench's terms, with the official rules at the edges.

    Raises:
        UnknownNameError, BadValueError: for an option, or a value of one, that is not known.
    """
    given = official.read(config)
    options: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
    for name in only_at_default:
        if options[name] != official.options[name]:
            raise BadValueError(
                f"{official.name}: {name} is implemented at {official.options[name]} only, not {options[name]}."
            )
    for name in ("depths", "num_heads", "window_size"):
        official.require_counts(name, options[name])
    if len(options["window_size"]) != 3 or len(options["depths"]) != len(options["num_heads"]):
        raise BadValueError(
            f"{official.name}: window_size has three sides, and num_heads as many entries as depths; got "
            f"{options['window_size']}, {options['num_heads']} and {options['depths']}."
        )
    return options, SwinOptions(
        channels=options["embed_dim"],
        depths=options["depths"],
        heads=options["num_heads"],
        window=options["window_size"],
        mlp_ratio=float(options["mlp_ratio"]),
        drop_path=float(options["drop_path_rate"]),
        position_bias=options.get("rpe", True),
        absolute_position="learned" if options["ape"] else "sinusoidal" if options["spe"] else "none",
        qkv_bias=options["qkv_bias"],
        patch_norm=options["patch_norm"],
        rules="legacy" if legacy_windows else "official",
        checkpointing=options["use_checkpoint"],
    )


def official_network(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any], *, legacy_windows: bool = False
) -> TransMorphNet:
    """The network with official weights: forward(moving, fixed) → displacement.

    Weights without a finest decoder block are taken for those of the authors' OASIS variant, whose decoder stops at
    half resolution.

    Args:
        state_dict: of the official `TransMorph`, with or without its buffers.
        config: the official options under their official names.
        legacy_windows: windows are put back in the order of the code before March 2022 (weights for the IXI data:
            before 29 January 2022); where their age is not known, compare both on a validation pair.

    Raises:
        UnknownNameError, BadValueError: for an option, or a value of one, that is not known.
        WeightsError: if the weights do not fit.
    """
    options, swin = swin_options(OFFICIAL, config, ONLY_AT_DEFAULT, legacy_windows=legacy_windows)
    network = TransMorphNet(
        swin,
        conv_skips=options["if_convskip"],
        transformer_skips=options["if_transskip"],
        half_resolution=_stops_at_half_resolution(state_dict, options["reg_head_chan"]),
        finest=options["reg_head_chan"],
    )
    OFFICIAL.load(network, state_dict)
    return network.eval()


def _stops_at_half_resolution(state_dict: Mapping[str, Tensor], finest: int) -> bool:
    last = state_dict.get("up3.conv2.0.weight")
    return last is not None and len(last) == finest and not any(key.startswith("up4.") for key in state_dict)


@dataclass(frozen=True, kw_only=True)
class TransMorph(Baseline):
    """TransMorph in the authors' four sizes, with or without its skips.

    Attributes:
        variant: how wide and deep the transformer is.
        window: sides of a window in tokens; None: size / 32, at least 2.
        conv_skips: features of two convolutions at full and half resolution go to the decoder.
        transformer_skips: features of the transformer's finer stages go to the decoder.
        half_resolution: the decoder stops at half resolution, as in the authors' OASIS variant.
        position_bias: attention has a learned bias for each relative position.
        absolute_position: what is added to the embedded patches: nothing, a learned map, or sines and cosines.
        window_rules: "masked": padding of windows is masked out, thin maps have thin windows; "official": as the
            authors' code; "legacy": as it was before March 2022; None: "official" for the authors' weights, else
            "masked".
    """

    card: ClassVar[Card] = Card(
        title="TransMorph",
        summary="A Swin transformer on the stacked pair and a convolutional decoder give the displacement.",
        citation="""@article{chen2022transmorph,
  author  = {Chen, Junyu and Frey, Eric C. and He, Yufan and Segars, William P. and Li, Ye and Du, Yong},
  title   = {{TransMorph}: Transformer for unsupervised medical image registration},
  journal = {Medical Image Analysis},
  volume  = {82},
  pages   = {102615},
  year    = {2022}
}""",
        origin="github.com/junyuchen245/TransMorph_Transformer_for_Medical_Image_Registration @ 6357a1d",
        licence="MIT",
        differs=(
            "The window is size / 32, at least 2; the authors set it by hand (5, 6, 7 at 160×192×224).",
            "Any size: halves are rounded up; padding of windows is masked out of attention, theirs takes part.",
            "A window side longer than a map is cut to it, and each axis shifts by itself.",
            "Trained by the common recipe unless recipe=official: the authors' recipe between subjects (OASIS data); "
            "their Dice loss squares its divisor and counts the background, and their rate falls once an epoch.",
            "The authors' weights run by the authors' rules at the edges of windows, unless window_rules is set.",
        ),
    )
    official: ClassVar[Official] = OFFICIAL

    variant: Variant = "base"
    window: tuple[int, int, int] | None = None
    conv_skips: bool = True
    transformer_skips: bool = True
    half_resolution: bool = False
    position_bias: bool = True
    absolute_position: AbsolutePosition = "none"
    window_rules: WindowRules | None = None

    def build(self, setting: Setting) -> TransMorphNet:
        """The network with new weights."""
        options = replace(
            VARIANTS[self.variant],
            window=self.window or adaptive_window(setting.shape),
            position_bias=self.position_bias,
            absolute_position=self.absolute_position,
            rules=self.window_rules or "masked",
            checkpointing=self.checkpointing,
        )
        return TransMorphNet(
            options,
            conv_skips=self.conv_skips,
            transformer_skips=self.transformer_skips,
            half_resolution=self.half_resolution,
        )

    def keep_official_rules(self, network: nn.Module) -> None:
        """Official weights were trained with padding that takes part in attention."""
        set_rules(network, self.window_rules or "official")

    def official_recipe(self) -> Recipe:
        """Between subjects: LNCC 1, penalty 1, Dice 1, both directions, Adam 1e-4 with AMSGrad, (1 − t)^0.9."""
        return Recipe(
            weights={"similarity": 1.0, "smooth": 1.0, "segmentation": 1.0},
            epochs=500,
            both_directions=True,
            optimisation=Optimisation(learning_rate=1e-4, amsgrad=True, schedule="polynomial"),
        )
