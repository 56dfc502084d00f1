"""What a method may look at, and what only a metric may look at: two types, so that leakage is a type error."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.api.geometry import Landmarks, Volume
from regbench.api.grid import Grid, Shape


@dataclass(frozen=True, slots=True)
class Setting:
    """What a network is built for.

    Attributes:
        shape: the grid's number of voxels along i, j, k.
        spacing_mm: millimetres between neighbours along i, j, k.
        labels: the label numbers that masks may hold, background (0) not counted; empty where there are no masks.
    """

    shape: Shape
    spacing_mm: tuple[float, float, float]
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pair:
    """All that a method may look at: two scans with intensities in [0, 1], on grids of one shape.

    Attributes:
        fixed: the scan that stays.
        moving: the scan that is warped onto it.
        fixed_mask: label map of the fixed scan from a mask source (never the truth by the back door), or None.
        moving_mask: label map of the moving scan, or None.
        labels: the label numbers that the masks may hold.
    """

    fixed: Volume
    moving: Volume
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    labels: tuple[int, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of the field to be found: the fixed scan's."""
        return self.fixed.grid

    @property
    def setting(self) -> Setting:
        """What a network for this pair is built for."""
        return Setting(self.grid.shape, self.grid.spacing_mm, self.labels)

    def without_masks(self) -> "Pair":
        """The same pair for a method that sees no masks at test."""
        return replace(self, fixed_mask=None, moving_mask=None)

    def reversed(self) -> "Pair":
        """The same pair with the roles exchanged."""
        return Pair(self.moving, self.fixed, self.moving_mask, self.fixed_mask, self.labels)

    def batch(self, seed: int = 0) -> "Batch":
        """The pair as a batch of one."""
        return Batch(
            fixed=self.fixed.data[None, None],
            moving=self.moving.data[None, None],
            fixed_mask=None if self.fixed_mask is None else self.fixed_mask.data[None, None],
            moving_mask=None if self.moving_mask is None else self.moving_mask.data[None, None],
            setting=self.setting,
            seed=seed,
        )


@dataclass(frozen=True)
class Truth:
    """What only a metric may look at.

    Attributes:
        labels: number → name of the structures that are scored.
        fixed_labels: the fixed scan's label map.
        moving_labels: the moving scan's label map.
        landmarks: corresponding points, or None.
    """

    labels: Mapping[int, str]
    fixed_labels: Volume
    moving_labels: Volume
    landmarks: Landmarks | None = None


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        fixed: (b, 1, i, j, k) intensities in [0, 1].
        moving: (b, 1, i, j, k).
        fixed_mask: (b, 1, i, j, k) label maps, or None.
        moving_mask: (b, 1, i, j, k), or None.
        setting: the grid and the mask labels.
        seed: differs from step to step; for losses that sample.
    """

    fixed: Float[Tensor, "b 1 i j k"]
    moving: Float[Tensor, "b 1 i j k"]
    fixed_mask: UInt8[Tensor, "b 1 i j k"] | None
    moving_mask: UInt8[Tensor, "b 1 i j k"] | None
    setting: Setting
    seed: int = 0

    def generator(self) -> torch.Generator:
        """A random generator on the batch's device, seeded for this step."""
        return torch.Generator(device=self.fixed.device).manual_seed(self.seed)
