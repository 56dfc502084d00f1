"""VoxelMorph: a U-Net that gives the displacement, or a velocity that is integrated.

Balakrishnan et al., VoxelMorph: A Learning Framework for Deformable Medical Image Registration, TMI 2019; the network
is the `VxmDense` of the authors' PyTorch code (Apache-2.0), written afresh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api import Batch, Card, Optimisation, Recipe, Setting
from regbench.errors import BadValueError
from regbench.losses import gradient_penalty, mse
from regbench.spatial import integrate, resize_displacement, warp
from regbench_baselines.baseline import Baseline
from regbench_baselines.layers.blocks import (
    Conv3,
    FlowHead,
    UpsampledConv,
    crop_to,
    fast_layout,
    lean_leaky_relu,
    pad_to_multiple,
    recomputed,
)
from regbench_baselines.objective import objective
from regbench_baselines.official import Official

ENCODER = (16, 32, 32, 32)
DECODER = (32, 32, 32, 32, 32, 16, 16)
SLOPE = 0.2
SLAB = 32


@dataclass(frozen=True, kw_only=True)
class Integration:
    """How a velocity becomes a displacement.

    Attributes:
        steps: of scaling and squaring; 0: the network's output is the displacement, at full resolution.
        downsize: by which factor the velocity's grid is coarser; ignored without integration.
    """

    steps: int = 0
    downsize: int = 2

    def __call__(self, velocity: Float[Tensor, "b 3 i j k"], shape: Sequence[int]) -> Float[Tensor, "b 3 x y z"]:
        """The displacement on the grid of `shape`."""
        return resize_displacement(integrate(velocity, self.steps) if self.steps else velocity, shape)


class VoxelMorphNet(nn.Module):
    """The U-Net. Convolutions 3³, each but the last followed by LeakyReLU(0.2); no normalisation.

    Attributes:
        multiple: sizes are padded to a multiple of this inside, and cropped after.
    """

    def __init__(
        self,
        encoder: Sequence[int] = ENCODER,
        decoder: Sequence[int] = DECODER,
        *,
        integration: Integration | None = None,
        half_resolution: bool = False,
        checkpointing: bool = False,
    ) -> None:
        """A network with new weights.

        Args:
            encoder: channels of each level, finest first.
            decoder: channels of as many levels, coarsest first, then of the convolutions at the finest resolution.
            integration: none by default.
            half_resolution: the decoder stops one level early.
            checkpointing: recompute activations in the backward pass.
        """
        super().__init__()
        levels = len(encoder)
        if len(decoder) <= levels:
            raise BadValueError(
                f"VoxelMorph's decoder needs more entries than its encoder has ({levels}); it has {len(decoder)}."
            )
        self.integration = integration or Integration()
        self.half_resolution, self.checkpointing = half_resolution, checkpointing
        self.multiple = 2**levels
        self.encoder = nn.ModuleList(Conv3(a, b) for a, b in zip((2, *encoder), encoder, strict=False))
        joined = levels - half_resolution
        skips = (None, *reversed(encoder), *[None] * len(decoder))
        convs = [
            Conv3(a, b) if n == 0 or n > joined else UpsampledConv(a, skips[n] or 0, b)
            for n, (a, b) in enumerate(zip((encoder[-1], *decoder), decoder, strict=False))
        ]
        self.decoder, self.remaining = nn.ModuleList(convs[:levels]), nn.ModuleList(convs[levels:])
        self.flow = FlowHead(decoder[-1])

    def forward(
        self, moving: Float[Tensor, "b 1 i j k"], fixed: Float[Tensor, "b 1 i j k"]
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement at full resolution."""
        return self.displacement(self.velocity(moving, fixed), fixed.shape[2:])

    def velocity(
        self, moving: Float[Tensor, "b 1 i j k"], fixed: Float[Tensor, "b 1 i j k"]
    ) -> Float[Tensor, "b 3 x y z"]:
        """What the U-Net gives, before integration, on the padded grid or a coarser one, in voxels of that grid."""
        field = self._field(pad_to_multiple(torch.cat([moving, fixed], 1), self.multiple))
        down = self.integration.downsize
        if not self.integration.steps or down == 1 or self.half_resolution:
            return field
        return resize_displacement(field, [n // down for n in field.shape[2:]])

    def displacement(self, velocity: Float[Tensor, "b 3 x y z"], shape: Sequence[int]) -> Float[Tensor, "b 3 i j k"]:
        """The displacement that a velocity of this network stands for, on the grid of `shape`."""
        padded = [n + -n % self.multiple for n in shape]
        return crop_to(self.integration(velocity, padded), shape)

    def _field(self, x: Float[Tensor, "b 2 i j k"]) -> Float[Tensor, "b 3 x y z"]:
        skips: list[Tensor] = []
        for conv in self.encoder:
            skips.append(fast_layout(_apply(conv, x, [])))
            x = F.max_pool3d(skips[-1], 2)
        for conv in self.decoder:
            x = _apply(conv, x, skips)
        skip = [] if self.half_resolution else skips
        return self._in_slabs(x, *skip) if self.checkpointing else self._finest(x, *skip)

    def _finest(self, x: Float[Tensor, "b c i j k"], *skip: Float[Tensor, "b d x y z"]) -> Float[Tensor, "b 3 u v w"]:
        left = list(skip)
        for conv in self.remaining:
            x = _apply(conv, x, left)
        field: Tensor = self.flow(x)
        return field

    def _in_slabs(self, x: Float[Tensor, "b c i j k"], *skip: Float[Tensor, "b d x y z"]) -> Float[Tensor, "b 3 u v w"]:
        """The finest convolutions slab by slab, each recomputed in the backward pass.

        They hold nearly all activations at once: recomputing them as a whole would save nothing.
        """
        inputs = (x, *skip)
        size, halo = inputs[-1].shape[2], 2 * ((len(self.remaining) + 2) // 2)
        slabs = []
        for start in range(0, size, SLAB):
            first, last = max(start - halo, 0), min(start + SLAB + halo, size)
            parts = [part[:, :, first * part.shape[2] // size : last * part.shape[2] // size] for part in inputs]
            slabs.append(recomputed(True, self._finest, *parts)[:, :, start - first : start - first + SLAB])
        return torch.cat(slabs, 2)


def _apply(conv: nn.Module, x: Tensor, skips: list[Tensor]) -> Tensor:
    """A convolution, with the last of the skips if it takes one, and its activation."""
    y: Tensor = conv(x, skips.pop()) if isinstance(conv, UpsampledConv) else conv(x)
    return lean_leaky_relu(y, SLOPE)


def _official_key(own: str) -> str:
    """The official name of a parameter.

    >>> _official_key("decoder.1.bias"), _official_key("remaining.2.weight"), _official_key("flow.weight")
    ('unet_model.decoder.1.0.main.bias', 'unet_model.remaining.2.main.weight', 'flow.weight')
    """
    part, _, rest = own.partition(".")
    if part == "flow":
        return own
    index, _, kind = rest.partition(".")
    return f"unet_model.{part}.{index}.{'' if part == 'remaining' else '0.'}main.{kind}"


OFFICIAL = Official(
    name="VxmDense",
    options={
        "inshape": None,
        "nb_unet_features": None,
        "nb_unet_levels": None,
        "unet_feat_mult": 1,
        "nb_unet_conv_per_level": 1,
        "int_steps": 7,
        "int_downsize": 2,
        "bidir": False,
        "use_probs": False,
        "src_feats": 1,
        "trg_feats": 1,
        "unet_half_res": False,
    },
    key_of=_official_key,
    unused=(r"transformer\.grid", r"integrate\.transformer\.grid"),
)
ONLY_AT_DEFAULT = ("nb_unet_levels", "unet_feat_mult", "nb_unet_conv_per_level", "use_probs", "src_feats", "trg_feats")


def official_network(
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    legacy_windows: bool = False,  # noqa: ARG001 - all official networks are called alike
) -> VoxelMorphNet:
    """The network with official weights: forward(moving, fixed) → displacement.

    Args:
        state_dict: of the official `VxmDense`, with or without its grids.
        config: the official options under their official names.
        legacy_windows: makes no difference; there is no window attention.

    Raises:
        UnknownNameError, BadValueError: for an option, or a value of one, that is not known.
        WeightsError: if the weights do not fit.
    """
    options = OFFICIAL.read(config)
    for name in ONLY_AT_DEFAULT:
        if options[name] != OFFICIAL.options[name]:
            raise BadValueError(
                f"VxmDense: {name} is implemented at {OFFICIAL.options[name]} only, not {options[name]}."
            )
    features = options["nb_unet_features"] or (ENCODER, DECODER)
    if not isinstance(features, Sequence) or len(features) != 2:
        raise BadValueError(
            f"VxmDense: nb_unet_features is implemented as two lists, encoder and decoder, not {features!r}."
        )
    encoder, decoder = features
    for channels in features:
        OFFICIAL.require_counts("nb_unet_features", channels)
    OFFICIAL.require_counts("int_steps", [options["int_steps"]], least=0)
    OFFICIAL.require_counts("int_downsize", [options["int_downsize"]])
    network = VoxelMorphNet(
        encoder,
        decoder,
        integration=Integration(steps=options["int_steps"], downsize=options["int_downsize"]),
        half_resolution=options["unet_half_res"],
    )
    OFFICIAL.load(network, state_dict)
    return network


@dataclass(frozen=True, kw_only=True)
class VoxelMorph(Baseline):
    """VoxelMorph, with or without integration.

    Attributes:
        integration_steps: of scaling and squaring; 0: none.
        integration_downsize: by which factor the integrated velocity's grid is coarser.
        encoder: channels of each level of the encoder, finest first.
        decoder: channels of as many levels of the decoder, coarsest first, then of the finest convolutions.
        half_resolution: the decoder stops at half resolution.
    """

    card: ClassVar[Card] = Card(
        title="VoxelMorph",
        summary="A U-Net on the stacked pair gives the displacement, or a stationary velocity that is integrated.",
        citation="""@article{balakrishnan2019voxelmorph,
  author  = {Balakrishnan, Guha and Zhao, Amy and Sabuncu, Mert R. and Guttag, John and Dalca, Adrian V.},
  title   = {{VoxelMorph}: A Learning Framework for Deformable Medical Image Registration},
  journal = {IEEE Transactions on Medical Imaging},
  volume  = {38},
  number  = {8},
  pages   = {1788--1800},
  year    = {2019}
}""",
        origin="github.com/voxelmorph/voxelmorph @ ca28315, class VxmDense",
        licence="Apache-2.0",
        differs=(
            "No integration by default: the papers it is compared in do not say, and their SDlogJ suggests none.",
            "Trained by the common recipe (LNCC) unless recipe=official (MSE, penalty on the velocity); the authors' "
            "default network is then the one with integration_steps=7.",
            "Sizes that are no multiple of 16 are padded inside and cropped after.",
            "Supervision by masks uses the common Dice loss; the authors' is in their TensorFlow code only.",
        ),
    )
    official: ClassVar[Official] = OFFICIAL

    integration_steps: int = 0
    integration_downsize: int = 2
    encoder: tuple[int, ...] = ENCODER
    decoder: tuple[int, ...] = DECODER
    half_resolution: bool = False

    def build(self, setting: Setting) -> VoxelMorphNet:  # noqa: ARG002 - fits any grid
        """The network with new weights."""
        return VoxelMorphNet(
            self.encoder,
            self.decoder,
            integration=Integration(steps=self.integration_steps, downsize=self.integration_downsize),
            half_resolution=self.half_resolution,
            checkpointing=self.checkpointing,
        )

    def official_recipe(self) -> Recipe:
        """Adam 1e-4, 1500 epochs of 100 random pairs, MSE + 0.01 · penalty; Dice 0.01 as in the TensorFlow code."""
        return Recipe(
            weights={"similarity": 1.0, "smooth": 0.01, "segmentation": 0.01},
            steps=150_000,
            optimisation=Optimisation(learning_rate=1e-4),
        )

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """The common objective; or the official one: MSE, and the penalty on what the network gives before integration.

        The official penalty is multiplied by `integration_downsize`, whether or not there is integration.
        """
        if self.recipe == "common" or not isinstance(network, VoxelMorphNet):
            return super().losses(network, batch)
        velocity = network.velocity(batch.moving, batch.fixed)
        displacement = network.displacement(velocity, batch.fixed.shape[2:])
        return {
            **objective(displacement, batch),
            "similarity": mse(batch.fixed, warp(batch.moving, displacement)),
            "smooth": self.integration_downsize * gradient_penalty(velocity),
        }
