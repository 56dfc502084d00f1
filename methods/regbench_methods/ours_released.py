"""The network that the released training script of the SAM-assisted registration paper builds, and its losses.

Xu et al., Medical Image Registration Meets Vision Foundation Model: Prototype Learning and Contour Awareness, IPMI
2025. The release (no licence) builds `CNN_Attention_Net`, which despite its name runs no attention; written afresh
from facts about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from regbench.api import Batch, Card, Preset, Recipe, Setting
from regbench.errors import BadValueError
from regbench.spatial import resize_displacement, warp
from regbench_baselines.baseline import Baseline
from regbench_baselines.layers.blocks import (
    Conv3,
    FlowHead,
    crop_to,
    instance_norm,
    pad_to_multiple,
    recomputed,
)
from regbench_baselines.layers.pyramid import PyramidEncoder, official_encoder_key
from regbench_baselines.objective import objective
from regbench_baselines.official import Official

WIDTHS = (8, 16, 32, 64)
INPUTS = ("moving", "fixed", "moving_mask", "fixed_mask")


class Fusion(nn.Module):
    """One level's field: a head each for the image pair and the mask pair, averaged; both share the convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3(2 * channels, channels, bias=False)
        self.image_head, self.mask_head = FlowHead(channels), FlowHead(channels)

    def forward(self, *maps: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b 3 i j k"]:
        """The field from the features of the four inputs, in the order of `INPUTS`."""
        images, masks = (
            head(F.leaky_relu(instance_norm(self.conv(torch.cat(pair, 1))), 0.01))
            for head, pair in ((self.image_head, maps[:2]), (self.mask_head, maps[2:]))
        )
        field: Tensor = (images + masks) / 2
        return field


class CNNAttentionNet(nn.Module):
    """Four encoders of their own, a field a level, added up from coarse to fine; nothing is warped in between.

    Sizes are padded to multiples of 8 inside, and cropped after.
    """

    def __init__(self, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.encoders = nn.ModuleDict({name: PyramidEncoder(WIDTHS) for name in INPUTS})
        self.fusions = nn.ModuleList(Fusion(width) for width in WIDTHS)

    def forward(
        self,
        moving: Float[Tensor, "b 1 i j k"],
        fixed: Float[Tensor, "b 1 i j k"],
        moving_mask: Shaped[Tensor, "b 1 i j k"],
        fixed_mask: Shaped[Tensor, "b 1 i j k"],
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement at full resolution; masks are label maps, read as numbers."""
        return self.fields(moving, fixed, moving_mask, fixed_mask)[-1]

    def fields(self, *inputs: Shaped[Tensor, "b 1 i j k"]) -> list[Float[Tensor, "b 3 _ _ _"]]:
        """The fields of the four levels, coarse to fine, each in voxels of its own grid (the last: the input's)."""
        padded = [pad_to_multiple(x.to(inputs[0].dtype), 8) for x in inputs]
        pyramids = [self.encoders[name](x) for name, x in zip(INPUTS, padded, strict=True)]
        fields: list[Tensor] = []
        for fusion, *maps in reversed(list(zip(self.fusions, *pyramids, strict=True))):
            field = recomputed(self.checkpointing, fusion, *maps)
            fields.append(field + resize_displacement(fields[-1], field.shape[2:]) if fields else field)
        return [*fields[:-1], crop_to(fields[-1], inputs[0].shape[2:])]


def _official_key(own: str) -> str:
    """The official name of a parameter.

    >>> _official_key("fusions.0.mask_head.bias"), _official_key("encoders.fixed_mask.levels.3.first.bias")
    ('fusion1.reg_head_S.0.bias', 'fixed_lwsa_seg.Convblock_4.Conv_1.bias')
    """
    if own.startswith("encoders."):
        _, name, rest = own.split(".", 2)
        scan, _, mask = name.partition("_")
        return f"{scan}_lwsa_{'seg' if mask else 'img'}.{official_encoder_key(rest)}"
    _, level, part, kind = own.split(".")
    official = {"conv": "ConvReLU_img", "image_head": "reg_head_I", "mask_head": "reg_head_S"}[part]
    return f"fusion{int(level) + 1}.{official}.0.{kind}"


OFFICIAL = Official(
    name="CNN_Attention_Net",
    options={"window_size": (5, 5, 5)},
    key_of=_official_key,
    unused=(
        r"(fusion[1-4]\.)?lwca[1-4]?\.transformer\..+",
        r"fusion[1-4]\.ConvReLU_(seg|img2|seg2)\..+",
        r"up4\..+",
        r"(.+\.)?grid",
    ),
)


def official_network(
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    legacy_windows: bool = False,  # noqa: ARG001 - all official networks are called alike
) -> CNNAttentionNet:
    """The network with official weights: forward(moving, fixed, moving_mask, fixed_mask) → displacement.

    Args:
        state_dict: of the official `CNN_Attention_Net`, with or without its 1,766,529 parameters that nothing uses.
        config: the official options; the window size is of attention that is never run.
        legacy_windows: makes no difference, for the same reason.

    Raises:
        UnknownNameError: for an option that is not known.
        WeightsError: if the weights do not fit.
    """
    OFFICIAL.read(config)
    network = CNNAttentionNet()
    OFFICIAL.load(network, state_dict)
    return network


@dataclass(frozen=True, kw_only=True)
class OursReleased(Baseline):
    """The released variant of the SAM-assisted method; it sees masks in training and at test.

    Attributes:
        recipe: "official", the released losses with the weights below; or "common", the objective of the baselines.
        similarity: weight of the LNCC; the paper says 1.
        smooth: weight of the gradient penalty; the paper says 4.
        segmentation: weight of the Dice loss of the warped masks.
        contour: weight of the Hausdorff loss by distance transforms; the paper has a Chamfer distance.
    """

    card: ClassVar[Card] = Card(
        title="SAM-assisted, as released",
        summary="Four convolutional encoders (images and masks); the fields of four levels are added up.",
        citation="""@inproceedings{xu2025prototype,
  title = {Medical Image Registration Meets Vision Foundation Model: Prototype Learning and Contour Awareness},
  author = {Xu, Hao and others},
  booktitle = {Information Processing in Medical Imaging}, year = {2025}
}""",
        origin="github.com/HaoXu0507/IPMI25-SAM-Assisted-Registration @ e1f671c, class CNN_Attention_Net",
        licence="none stated",
        differs=(
            "Written from facts about the release; only what its output depends on: 1,192,872 of 2,959,401 parameters.",
            "As in the release, and unlike the paper, there is neither attention nor warping between levels.",
            "The released contrast of sampled points (weight 0.01) is left out: its sign drives the positive point "
            "away from its anchor, and its coordinates miss the grid of the features they index.",
            "Warped by a sampler whose zero field is the identity; the released one's is not.",
            "The release lacks its Dice loss; the common one is used.",
            "As in the release, the contour loss leaves out the first label (it is taken for the background).",
            "Sizes that are no multiple of 8 are padded inside and cropped after.",
        ),
    )
    masks: ClassVar[Literal["never", "training", "always"]] = "always"
    official: ClassVar[Official] = OFFICIAL

    recipe: Literal["common", "official"] = "official"
    similarity: float = 4.0
    smooth: float = 1.0
    segmentation: float = 1.0
    contour: float = 0.1

    def build(self, setting: Setting) -> CNNAttentionNet:  # noqa: ARG002 - fits any grid
        """The network with new weights."""
        return CNNAttentionNet(checkpointing=self.checkpointing)

    def training(self, preset: Preset) -> Recipe:
        """Adam 1e-4, batch 1, 500 epochs, which is also the common recipe; only the losses differ."""
        return super().training(preset) if self.recipe == "common" else Recipe.common(preset, self._weights())

    def official_recipe(self) -> Recipe:
        """The released losses."""
        return Recipe.common("paper", self._weights())

    def displacement(self, network: nn.Module, batch: Batch) -> Float[Tensor, "b 3 i j k"]:
        """The field of each pair.

        Raises:
            BadValueError: for a batch without masks.
        """
        if batch.moving_mask is None or batch.fixed_mask is None:
            raise BadValueError("ours-released needs masks of both scans, in training and at test; give --masks NAME.")
        u: Tensor = network(batch.moving, batch.fixed, batch.moving_mask, batch.fixed_mask)
        return u

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """The common objective and, in the official recipe, the contour loss."""
        displacement = self.displacement(network, batch)
        terms = objective(displacement, batch)
        if self.recipe == "official" and self.contour:
            terms["contour"] = hausdorff(displacement, batch)
        return terms

    def _weights(self) -> dict[str, float]:
        return {
            "similarity": self.similarity,
            "smooth": self.smooth,
            "segmentation": self.segmentation,
            "contour": self.contour,
        }


def hausdorff(displacement: Float[Tensor, "b 3 i j k"], batch: Batch) -> Float[Tensor, ""]:
    """The mean over voxels and labels but the first of (f − m)² · (D_f² + D_m²).

    f and m are the fixed and the warped moving mask of a label, D the distance of a voxel from the mask's boundary in
    voxels, by distance transforms (Karimi and Salcudean, TMI 2020, as `HausdorffDTLoss` of MONAI has it).
    """
    labels = torch.tensor(batch.setting.labels[1:], device=displacement.device).view(1, -1, 1, 1, 1)
    if labels.numel() == 0 or batch.fixed_mask is None or batch.moving_mask is None:
        return displacement.sum() * 0
    fixed = (batch.fixed_mask == labels).to(displacement.dtype)
    moved = warp((batch.moving_mask == labels).to(displacement.dtype), displacement)
    each = [_hausdorff_of_one(f, m) for f, m in zip(fixed.flatten(0, 1), moved.flatten(0, 1), strict=True)]
    return torch.stack(each).mean()


def _hausdorff_of_one(fixed: Float[Tensor, "i j k"], moved: Float[Tensor, "i j k"]) -> Float[Tensor, ""]:
    """The mean over all voxels, computed where it is not zero: in the box around both masks and a voxel more.

    What lies nearest to a voxel of the box, in a mask or outside of it, lies in the box as well.
    """
    from monai.losses import HausdorffDTLoss  # takes seconds to import; only this loss needs it

    places = ((fixed > 0) | (moved > 0)).nonzero()
    if len(places) == 0:
        return moved.sum() * 0
    low, high = (places.amin(0) - 1).clamp_min(0).tolist(), (places.amax(0) + 2).tolist()
    box = tuple(map(slice, low, high))
    near: Tensor = HausdorffDTLoss(alpha=2.0, include_background=True)(moved[box][None, None], fixed[box][None, None])
    return near * (fixed[box].numel() / fixed.numel())
