"""A pair of anybody's scans, registered on a method's grid and brought back to the fixed scan's own."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regbench.api import Field, Grid, Pair, Percentiles, Volume, Window
from regbench.data.checks.placement import Placement
from regbench.data.cohorts.preprocess import to_unit
from regbench.engine.evaluation.evaluate import Register, checked
from regbench.engine.seeds import derive, own_randomness
from regbench.errors import DataError
from regbench.losses import lncc
from regbench.metrics.overlap import dsc
from regbench.registration.grid import GridRule, centring_shift_mm, moved_by, network_grid, shared_share
from regbench.registration.placing import (
    Pulled,
    field_onto,
    jacobian_map,
    labels_onto,
    numbers_in,
    pull,
    scan_onto,
    still,
)
from regbench.spatial import resample, warp

_CPU = torch.device("cpu")
_LITTLE = 0.5
_ORDER = "RAS"


@dataclass(frozen=True, eq=False)
class OwnScans:
    """Two scans as they were stored, each on a grid of its own in the order closest to RAS+.

    Attributes:
        fixed: (i, j, k) float32, in its own unit.
        moving: (a, b, c) float32.
        fixed_mask: label map on the fixed scan's grid for the method to look at, or None.
        moving_mask: label map on the moving scan's grid, or None.
        fixed_labels: label map to score with, which no method sees, or None.
        moving_labels: label map to warp and to score with, or None.
        notes: what a user has to know about the files.
    """

    fixed: Volume
    moving: Volume
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    fixed_labels: Volume | None = None
    moving_labels: Volume | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = [
            f"The {name} does not lie on the grid of the {scan} scan: {difference}; resample it to that scan."
            for scan, grid, mask, labels in (
                ("fixed", self.fixed.grid, self.fixed_mask, self.fixed_labels),
                ("moving", self.moving.grid, self.moving_mask, self.moving_labels),
            )
            for name, volume in ((f"{scan} mask", mask), (f"{scan} label map", labels))
            if volume is not None and (difference := Placement(volume.grid, _ORDER).difference(Placement(grid, _ORDER)))
        ]
        for name, purpose, fixed, moving in (
            ("masks", "matched", self.fixed_mask, self.moving_mask),
            ("label maps", "scored", self.fixed_labels, self.moving_labels),
        ):
            held = [[] if labels is None else numbers_in(labels) for labels in (fixed, moving)]
            if fixed is not None and moving is not None and not set(held[0]) & set(held[1]):
                faults.append(
                    f"The {name} have no label in common, so that nothing can be {purpose}: the fixed one holds "
                    f"{held[0] or 'none'}, the moving one {held[1] or 'none'}."
                )
        for scan, volume in (("fixed", self.fixed), ("moving", self.moving)):
            strange = int((~torch.isfinite(volume.data)).sum())
            if strange:
                faults.append(f"The {scan} scan holds {strange} values that are not finite; replace them first.")
        if faults:
            raise DataError(faults)


@dataclass(frozen=True)
class Preparation:
    """How a method wants to be shown a pair.

    Attributes:
        intensity: how intensities are brought to [0, 1].
        grid: a protocol's rule; None: the fixed scan's own field of view.
        labels: the label numbers that masks may hold.
    """

    intensity: Window | Percentiles = field(default_factory=Percentiles)
    grid: GridRule | None = None
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Presented:
    """A pair as a method is shown it.

    Attributes:
        pair: both scans on one grid.
        shift_mm: (3,) by which the moving scan was brought nearer, in RAS+.
        covered: which voxels of the fixed scan lie in the field of view of that grid: the others are not registered.
        notes: what a user has to know about it.
    """

    pair: Pair
    shift_mm: Float[np.ndarray, " 3"]
    covered: Bool[Tensor, "i j k"]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Registration:
    """What has come of it; everything lies on the fixed scan's own grid.

    Attributes:
        field: leads from each fixed voxel to where the moving scan really lies in the world.
        moved: the moving scan, interpolated once.
        before: the moving scan by the affines alone.
        moved_labels: the moving scan's labels by the nearest voxel, or None.
        before_labels: the same by the affines alone.
        determinant: det(I + ∇u); 1 far from what was registered, where the field has gone to zero.
        presented: the pair that the method saw.
        similarity: the mean squared local correlation on the method's grid, before and after.
        dice: label → Dice before and after, where both scans have it.
        seconds: of the registration proper.
        outside: what the moved scan holds where the moving one has not been: its lowest value.
    """

    field: Field
    moved: Volume
    before: Volume
    moved_labels: Volume | None
    before_labels: Volume | None
    determinant: Volume
    presented: Presented
    similarity: tuple[float, float]
    dice: Mapping[int, tuple[float, float]]
    seconds: float
    outside: float

    @property
    def folding_percent(self) -> float:
        """The share of the registered voxels at which the field folds."""
        return 100 * float((self.registered_determinants <= 0).double().mean())

    @property
    def registered_determinants(self) -> Float[Tensor, " n"]:
        """The determinants at the fixed scan's voxels that were registered."""
        return self.determinant.data[self.presented.covered]


def present(scans: OwnScans, preparation: Preparation, device: torch.device = _CPU) -> Presented:
    """The pair as a method is shown it: intensities first, then the grid, as in a protocol's preprocessing.

    Args:
        scans: as they were stored.
        preparation: intensities, grid and labels.
        device: where the method computes.

    Raises:
        DataError: for a mask without any label that the method knows; other labels count as background.
    """
    fixed, moving = scans.fixed, scans.moving
    shift_mm = centring_shift_mm(fixed.grid, moving.grid)
    lies, grid = moved_by(moving.grid, shift_mm), network_grid(fixed.grid, preparation.grid)

    def shown(scan: Volume, where: Grid) -> Volume:
        unit = scan_onto(to_unit(scan.data.numpy(), preparation.intensity), where, grid)
        return Volume(torch.from_numpy(unit).float(), grid).to(device)

    def mask(labels: Volume | None, where: Grid) -> Volume | None:
        return None if labels is None else labels_onto(labels, where, grid).to(device)

    masks, mask_notes = _known_labels({"fixed": scans.fixed_mask, "moving": scans.moving_mask}, preparation.labels)

    pair = Pair(
        fixed=shown(fixed, fixed.grid),
        moving=shown(moving, lies),
        fixed_mask=mask(masks["fixed"], fixed.grid),
        moving_mask=mask(masks["moving"], lies),
        labels=preparation.labels,
    )
    covered = resample(torch.ones(grid.shape, dtype=torch.uint8), grid, fixed.grid, "nearest").bool()
    notes = (*scans.notes, *mask_notes, *_notes(fixed.grid, lies, covered, shift_mm))
    return Presented(pair, shift_mm, covered, notes)


def _known_labels(
    masks: Mapping[str, Volume | None], labels: Sequence[int]
) -> tuple[dict[str, Volume | None], list[str]]:
    """The masks with the labels that a method knows, and which others became background."""
    known, notes = dict(masks), []
    for name, mask in masks.items():
        found = [] if mask is None else numbers_in(mask)
        strange = [number for number in found if number not in labels]
        if mask is None or not strange:
            continue
        if strange == found:
            raise DataError([f"The {name} mask holds the labels {strange}; the method knows {list(labels)} only."])
        data = torch.where(torch.isin(mask.data, torch.tensor(strange)), 0, mask.data)
        known[name] = Volume(data.to(mask.data.dtype), mask.grid)
        notes.append(f"The {name} mask's labels {strange} are none of the method's, and count as background.")
    return known, notes


def _notes(fixed: Grid, lies: Grid, covered: Bool[Tensor, "i j k"], shift_mm: Float[np.ndarray, " 3"]) -> list[str]:
    said = []
    if shift_mm.any():
        far = float(np.linalg.norm(shift_mm))
        said.append(f"The scans do not meet in the world: their centres were brought together, over {far:.0f} mm.")
    seen = shared_share(fixed, lies)
    if seen < _LITTLE:
        said.append(f"The moving scan covers only {100 * seen:.0f} % of the fixed scan's field of view.")
    if not covered.all():
        said.append(
            f"The method's grid covers {100 * float(covered.double().mean()):.0f} % of the fixed scan's field of view. "
            "Nothing is registered beyond it: the displacement goes smoothly to zero there, and is not judged."
        )
    return said


def register_own(scans: OwnScans, presented: Presented, register: Register, seed: int = 0) -> Registration:
    """Register a pair, and bring what is found back to the fixed scan's own grid.

    Args:
        scans: as they were stored.
        presented: the same pair as the method is shown it.
        register: a pair in, its field out.
        seed: torch's generators are seeded with it, and left as they were.

    Raises:
        RunError: where the method gives no usable field.
    """
    pair = presented.pair
    device = pair.fixed.data.device
    begun = time.perf_counter()
    with own_randomness(device):
        torch.manual_seed(derive(seed, "pair", 0))
        found = checked(register(pair), pair, "fixed and moving", device)
    seconds = time.perf_counter() - begun
    whole = field_onto(Field(found.displacement.cpu(), found.grid), scans.fixed.grid, presented.shift_mm)
    unregistered = still(scans.fixed.grid, presented.shift_mm)
    moved, moved_labels = _warped(scans, whole)
    before, before_labels = _warped(scans, unregistered)
    return Registration(
        field=whole,
        moved=moved,
        before=before,
        moved_labels=moved_labels,
        before_labels=before_labels,
        determinant=jacobian_map(whole),
        presented=presented,
        similarity=_similarity(pair, found),
        dice=_dice(scans, before_labels, moved_labels),
        seconds=seconds,
        outside=float(scans.moving.data.min()),
    )


def _warped(scans: OwnScans, field: Field) -> tuple[Volume, Volume | None]:
    """The moving scan, with its lowest value outside, and its labels."""
    data = scans.moving.data
    wanted = [Pulled(data, "linear", float(data.min()))]
    if scans.moving_labels is not None:
        wanted.append(Pulled(scans.moving_labels.data, "nearest"))
    moved, *labels = pull(scans.moving.grid, field, *wanted)
    return moved, labels[0] if labels else None


def _similarity(pair: Pair, found: Field) -> tuple[float, float]:
    batch = pair.batch()
    moved = warp(batch.moving, found.displacement[None])
    return -float(lncc(batch.fixed, batch.moving)), -float(lncc(batch.fixed, moved))


def _dice(scans: OwnScans, before: Volume | None, after: Volume | None) -> dict[int, tuple[float, float]]:
    """Label → Dice before and after, of the labels that both scans have."""
    fixed, moving = scans.fixed_labels, scans.moving_labels
    if fixed is None or moving is None or before is None or after is None:
        return {}
    shared = sorted(set(numbers_in(fixed)) & set(numbers_in(moving)))
    first, then = (dsc(fixed.data, labels.data, shared, moving=moving.data) for labels in (before, after))
    return {label: (first[label], then[label]) for label in shared}
