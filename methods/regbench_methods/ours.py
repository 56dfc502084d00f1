"""Prototype learning and contour awareness with masks of a foundation model.

Paper: Xu et al., "Medical Image Registration Meets Vision Foundation Model: Prototype Learning and Contour Awareness",
IPMI 2025. The text's method; the network that its authors released is `ours-released`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor, nn

from regbench.api import Batch, Card, Pair, Preset, Recipe, Setting, Shape, Trainable
from regbench.errors import BadValueError
from regbench_baselines.layers.blocks import pad_to_multiple
from regbench_baselines.objective import COMMON_WEIGHTS, objective
from regbench_baselines.official import Official
from regbench_baselines.weights import read_weights
from regbench_methods.contour import contour_loss
from regbench_methods.network import LEVELS, Design, PrototypeContourNetwork, Registered
from regbench_methods.polyaffine import polyaffine
from regbench_methods.prototype import prototype_loss

_WINDOW, _WINDOW_AT = 5, 160


@dataclass(frozen=True, kw_only=True)
class Ours(Trainable):
    """The prototype and contour method, as the text has it.

    Attributes:
        prototype: train with the prototype loss (equations 3 to 6).
        contour: train with the contour loss (equation 7).
        prototype_level: whose image features the prototypes are made of: 1 is the finest level, 4 the coarsest.
        temperature: of the contrast (equation 4).
        contour_points: drawn from each organ and scan.
        contour_unit_mm: the Chamfer distance is squared in this unit, so that its weight means the same on any grid.
        channels: of the encoders, from the finest level to the coarsest.
        window: of the attention, in voxels of each level; none: 5 at 160 voxels, in proportion on other grids.
        position_bias: attention learns a number for each relative position in its window.
        shared_encoders: moving and fixed go through the same encoders.
        one_hot: masks enter with a channel for each organ, not as label numbers.
        composition: compose the fields of the levels instead of adding them.
        finest: the finest level with attention and a field of its own: 1 is full resolution, as the text has it.
        correlation: fields see the local correlation of the scans as well; not in the text, see `ours-plus`.
        polyaffine: start from the organs' affine motions; not in the text, see `ours-plus`.
        checkpointing: recompute activations in the backward pass: less memory, more time, the same numbers.
        weights: a file of trained weights to start from.
    """

    card: ClassVar[Card] = Card(
        title="Ours",
        summary="Image and mask streams joined by windowed attention; prototype and contour losses on masks.",
        citation="""@inproceedings{xu2025prototype,
  title = {Medical Image Registration Meets Vision Foundation Model: Prototype Learning and Contour Awareness},
  author = {Xu, Hao and others},
  booktitle = {Information Processing in Medical Imaging}, year = {2025}
}""",
        origin="The text of the paper, sections 3.2 to 3.5 and 4.2.",
        licence="none stated for the released code; nothing of it is part of regbench",
        differs=(
            "Open in the text, chosen here: encoders of 8, 16, 32, 64 channels shared by both scans, masks one-hot, "
            "heads of 16 channels, residuals on the querying stream, and a learned bias for each relative position in "
            "a window, which equation 2 does not write and the Swin blocks that the text names have.",
            "The prototypes are made of the half-resolution features; the background is a class of the contrast and "
            "takes no part in the alignment; organs absent from a scan are left out.",
            "The contour points are the middles of voxel faces; the fixed contour is carried into the moving scan by "
            "the field and compared there; distances are squared in units of 10 mm, where the text has voxels.",
            "In the quick preset the finest level with attention is at half the resolution, to save time on a CPU.",
        ),
    )
    masks: ClassVar[Literal["never", "training", "always"]] = "always"
    quick: ClassVar[Mapping[str, object]] = MappingProxyType({"finest": 2, "checkpointing": False})

    prototype: bool = True
    contour: bool = True
    prototype_level: Annotated[int, Field(ge=1, le=4)] = 2
    temperature: Annotated[float, Field(gt=0)] = 1.0
    contour_points: Annotated[int, Field(ge=8)] = 512
    contour_unit_mm: Annotated[float, Field(gt=0)] = 10.0
    channels: tuple[int, int, int, int] = (8, 16, 32, 64)
    window: Shape | None = None
    position_bias: bool = True
    shared_encoders: bool = True
    one_hot: bool = True
    composition: bool = False
    finest: Annotated[int, Field(ge=1, le=4)] = 1
    correlation: bool = False
    polyaffine: bool = False
    checkpointing: bool = True
    weights: Path | None = None

    def skip(self, pair: Pair) -> str | None:
        """Without masks there is nothing for the mask stream to see."""
        return "it needs masks of both scans" if pair.fixed_mask is None or pair.moving_mask is None else None

    def network(self, setting: Setting) -> nn.Module:
        """The network for the masks' labels."""
        if not setting.labels:
            raise BadValueError("The method 'ours' needs masks; name their source, e.g. --masks segmenter.")
        design = Design(
            channels=self.channels,
            window=self.window or window_for(setting.shape),
            position_bias=self.position_bias,
            shared_encoders=self.shared_encoders,
            one_hot=self.one_hot,
            composition=self.composition,
            finest=self.finest,
            correlation=self.correlation,
            checkpointing=self.checkpointing,
        )
        network = PrototypeContourNetwork(setting.labels, design)
        if self.weights is not None:
            Official("network of 'ours'", {}, lambda key: key).load(network, read_weights(self.weights))
        return network

    def training(self, preset: Preset) -> Recipe:
        """The common recipe with the weights of section 4.2."""
        extra = {"prototype": 1.0} if self.prototype else {}
        extra |= {"contour": 0.1} if self.contour else {}
        return Recipe.common(preset, {**COMMON_WEIGHTS, **extra})

    def displacement(self, network: nn.Module, batch: Batch) -> Float[Tensor, "b 3 i j k"]:
        """The field of each pair, which depends on the masks as well."""
        return self._registered(network, batch).displacement

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """Similarity, smoothness, segmentation, prototype and contour, not weighted."""
        found = self._registered(network, batch)
        terms = objective(found.displacement, batch)
        if self.prototype:
            terms["prototype"] = self._prototype(found, batch)
        if self.contour:
            terms["contour"] = self._contour(found.displacement, batch)
        return terms

    @property
    def _reach_mm(self) -> float | None:
        """How far apart contours may be for their distance to count in full; none: as far as they are."""
        return None

    def _registered(self, network: nn.Module, batch: Batch) -> Registered:
        assert isinstance(network, PrototypeContourNetwork)  # noqa: S101 - what `network` makes
        return network.registered(batch.moving, batch.fixed, *_masks(batch), self._start(batch))

    def _start(self, batch: Batch) -> Float[Tensor, "b 3 i j k"] | None:
        if not self.polyaffine:
            return None
        moving_mask, fixed_mask = _masks(batch)
        labels, spacing = batch.setting.labels, batch.setting.spacing_mm
        each = zip(batch.fixed[:, 0], batch.moving[:, 0], fixed_mask[:, 0], moving_mask[:, 0], strict=True)
        return torch.stack([polyaffine(a, b, c, d, labels, spacing_mm=spacing) for a, b, c, d in each])

    def _prototype(self, found: Registered, batch: Batch) -> Float[Tensor, ""]:
        as_features = partial(pad_to_multiple, multiple=2 ** (LEVELS - 1))
        moving_mask, fixed_mask = map(as_features, _masks(batch))
        fixed, moving = (level[self.prototype_level - 1].float() for level in (found.fixed, found.moving))
        each = [
            prototype_loss(
                fixed[b],
                moving[b],
                fixed_mask[b, 0],
                moving_mask[b, 0],
                batch.setting.labels,
                temperature=self.temperature,
            )
            for b in range(len(fixed))
        ]
        return torch.stack(each).mean()

    def _contour(self, displacement: Float[Tensor, "b 3 i j k"], batch: Batch) -> Float[Tensor, ""]:
        moving_mask, fixed_mask = _masks(batch)
        generator = batch.generator()
        each = [
            contour_loss(
                fixed_mask[b, 0],
                moving_mask[b, 0],
                displacement[b].float(),
                batch.setting.labels,
                spacing_mm=batch.setting.spacing_mm,
                unit_mm=self.contour_unit_mm,
                points=self.contour_points,
                generator=generator,
                reach_mm=self._reach_mm,
            )
            for b in range(len(displacement))
        ]
        return torch.stack(each).mean()


def window_for(shape: Shape) -> Shape:
    """Windows that cover the same share of the field of view as 5 voxels of 160; at least 3 voxels.

    >>> window_for((160, 160, 160)), window_for((128, 128, 32)), window_for((64, 48, 80))
    ((5, 5, 5), (4, 4, 3), (3, 3, 3))
    """
    i, j, k = (max(3, round(n * _WINDOW / _WINDOW_AT)) for n in shape)
    return i, j, k


def _masks(batch: Batch) -> tuple[UInt8[Tensor, "b 1 i j k"], UInt8[Tensor, "b 1 i j k"]]:
    """The moving and the fixed scan's masks."""
    if batch.moving_mask is None or batch.fixed_mask is None:
        raise BadValueError("The method 'ours' needs masks of both scans; name their source, e.g. --masks segmenter.")
    return batch.moving_mask, batch.fixed_mask
