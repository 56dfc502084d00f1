"""The cohort of a protocol, held whole on one device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.api import Batch, Grid, Landmarks, Pair, PairId, Protocol, Setting, Truth, Volume
from regbench.errors import DataError, UnknownNameError


@dataclass(frozen=True, eq=False)
class Points:
    """Named landmarks of one scan.

    Attributes:
        names: one a point; equal names are the same place of the body.
        index: (n, 3) voxel indices of the scan's grid, with fractions.
    """

    names: tuple[str, ...]
    index: Float[Tensor, "n 3"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """Every scan of a protocol, preprocessed; pairs and batches of one are views of it.

    Attributes:
        protocol: which scans, which pairs, which grid.
        ids: scan ids, in the order of the first axis below.
        images: (n, 1, i, j, k) intensities in [0, 1].
        labels: (n, 1, i, j, k) true label maps that hold the protocol's labels only; None where there are none.
        grids: one a scan, all of one shape.
        masks: (n, 1, i, j, k) label maps from a mask source, or None.
        mask_labels: the label numbers that the masks may hold.
        landmarks: scan id → its landmarks, where there are any.
        sources: scan id → its image file.
        fingerprint: digest of the content of every file that the cohort was made from.
    """

    protocol: Protocol
    ids: tuple[str, ...]
    images: Float[Tensor, "n 1 i j k"]
    labels: UInt8[Tensor, "n 1 i j k"] | None
    grids: tuple[Grid, ...]
    masks: UInt8[Tensor, "n 1 i j k"] | None = None
    mask_labels: tuple[int, ...] = ()
    landmarks: Mapping[str, Points] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)
    fingerprint: str = ""

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {scan: position for position, scan in enumerate(self.ids)}

    @property
    def device(self) -> torch.device:
        """Where it is held."""
        return self.images.device

    @property
    def setting(self) -> Setting:
        """What a network for this cohort is built for; the spacing is the first scan's."""
        return Setting(self.grids[0].shape, self.grids[0].spacing_mm, self.mask_labels)

    def position(self, scan: str) -> int:
        """The place of a scan along the first axis.

        Raises:
            UnknownNameError: for a scan that is not of the cohort.
        """
        try:
            return self._positions[scan]
        except KeyError:
            raise UnknownNameError("scan of the cohort", scan, self.ids) from None

    def image(self, scan: str) -> Volume:
        """A preprocessed scan."""
        return self._volume(self.images, scan)

    def label_map(self, scan: str) -> Volume:
        """A scan's true label map; empty where the cohort has no labels."""
        if self.labels is None:
            return Volume(torch.zeros_like(self.image(scan).data, dtype=torch.uint8), self.grids[self.position(scan)])
        return self._volume(self.labels, scan)

    def mask(self, scan: str) -> Volume | None:
        """A scan's label map from the mask source, if there is one."""
        return None if self.masks is None else self._volume(self.masks, scan)

    def pair(self, pair: PairId) -> Pair:
        """What a method may look at."""
        return Pair(
            fixed=self.image(pair.fixed),
            moving=self.image(pair.moving),
            fixed_mask=self.mask(pair.fixed),
            moving_mask=self.mask(pair.moving),
            labels=self.mask_labels,
        )

    def truth(self, pair: PairId) -> Truth:
        """What only a metric may look at."""
        return Truth(
            labels=self.protocol.labels,
            fixed_labels=self.label_map(pair.fixed),
            moving_labels=self.label_map(pair.moving),
            landmarks=self._common_landmarks(pair),
        )

    def batch(self, pairs: Sequence[PairId], seed: int) -> Batch:
        """What a training step sees; a batch of one pair copies nothing."""
        fixed = [self.position(pair.fixed) for pair in pairs]
        moving = [self.position(pair.moving) for pair in pairs]
        first = self.grids[fixed[0]]
        return Batch(
            fixed=_rows(self.images, fixed),
            moving=_rows(self.images, moving),
            fixed_mask=None if self.masks is None else _rows(self.masks, fixed),
            moving_mask=None if self.masks is None else _rows(self.masks, moving),
            setting=Setting(first.shape, first.spacing_mm, self.mask_labels),
            seed=seed,
        )

    def with_masks(self, masks: Mapping[str, Volume], labels: Sequence[int] | None = None) -> "Cohort":
        """The same cohort with label maps from a mask source.

        Args:
            masks: scan id → label map on the scan's grid, for every scan.
            labels: the label numbers that they may hold; by default the protocol's.

        Raises:
            DataError: for a scan without a mask, and a mask of another shape, another type or another label.
        """
        numbers = tuple(sorted(self.protocol.labels)) if labels is None else tuple(labels)
        faults = [fault for scan in self.ids for fault in self._mask_faults(scan, masks.get(scan), numbers)]
        if faults:
            raise DataError(faults)
        stacked = torch.stack([masks[scan].data.to(self.device) for scan in self.ids])[:, None]
        return replace(self, masks=stacked, mask_labels=numbers)

    def to(self, device: torch.device | str) -> "Cohort":
        """The same cohort on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=None if self.labels is None else self.labels.to(device),
            masks=None if self.masks is None else self.masks.to(device),
            landmarks={scan: Points(found.names, found.index.to(device)) for scan, found in self.landmarks.items()},
        )

    def _volume(self, stack: Tensor, scan: str) -> Volume:
        position = self.position(scan)
        return Volume(stack[position, 0], self.grids[position])

    def _common_landmarks(self, pair: PairId) -> Landmarks | None:
        fixed, moving = self.landmarks.get(pair.fixed), self.landmarks.get(pair.moving)
        if fixed is None or moving is None:
            return None
        other = {name: row for row, name in enumerate(moving.names)}
        rows = [(row, other[name]) for row, name in enumerate(fixed.names) if name in other]
        far = torch.tensor(self.images.shape[2:], device=self.device) - 1
        inside = ((fixed.index >= 0) & (fixed.index <= far)).all(1).tolist()
        rows = [(a, b) for a, b in rows if inside[a]]
        if not rows:
            return None
        return Landmarks(fixed.index[[a for a, _ in rows]], moving.index[[b for _, b in rows]])

    def _mask_faults(self, scan: str, mask: Volume | None, labels: tuple[int, ...]) -> list[str]:
        shape = tuple(self.images.shape[2:])
        if mask is None:
            return [f"The mask source gave no label map for scan {scan}; expected one for every scan of the cohort."]
        if mask.data.dtype != torch.uint8 or tuple(mask.data.shape) != shape:
            found = f"{mask.data.dtype} of shape {tuple(mask.data.shape)}"
            return [f"The mask of scan {scan} is {found}; expected torch.uint8 of shape {shape}."]
        strange = sorted(set(_present(mask.data)) - {0, *labels})
        if strange:
            return [f"The mask of scan {scan} holds the labels {strange}; expected only {[0, *labels]}."]
        return []


def _rows(stack: Tensor, positions: Sequence[int]) -> Tensor:
    rows = [stack[position : position + 1] for position in positions]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _present(labels: Tensor) -> list[int]:
    counts = torch.bincount(labels.flatten().int(), minlength=256)
    return [number for number, count in enumerate(counts.tolist()) if count]
