"""A protocol: the frozen statement of which scans are registered to which, on which grid, with which labels."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from regbench.api.grid import Grid, Shape

Spacing = tuple[float, float, float]


class PairId(NamedTuple):
    """A pair by its scan ids, direction included."""

    fixed: str
    moving: str


def patient_of(scan: str) -> str:
    """The patient of a scan id: all of it, or what stands before the first slash.

    >>> patient_of("patient007/ED"), patient_of("0001")
    ('patient007', '0001')
    """
    return scan.partition("/")[0]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Squeeze(_Frozen):
    """The whole field of view resampled to `shape`; the spacing follows from the scan."""

    rule: Literal["squeeze"] = "squeeze"
    shape: Shape

    def target(self, source: Grid) -> Grid:
        """The grid of `shape` voxels that covers the same box (voxel edges, not centres) as the source grid."""
        scale = np.array(source.shape) / np.array(self.shape)
        affine = source.affine.copy()
        affine[:3, :3] = source.affine[:3, :3] * scale
        affine[:3, 3] += source.affine[:3, :3] @ ((scale - 1) / 2)
        return Grid(self.shape, affine)

    def at(self, shape: Shape) -> "Squeeze":
        """The same field of view at another number of voxels."""
        return Squeeze(shape=shape)


class Crop(_Frozen):
    """A box of `shape` voxels of `spacing_mm` around the scan's centre; zero outside the scan."""

    rule: Literal["crop"] = "crop"
    shape: Shape
    spacing_mm: Spacing

    def target(self, source: Grid) -> Grid:
        """The box's grid, with the source grid's directions and centre."""
        spacing = np.array(self.spacing_mm)
        affine = source.affine.copy()
        affine[:3, :3] = source.affine[:3, :3] / np.array(source.spacing_mm) * spacing
        centre = source.affine[:3, :3] @ ((np.array(source.shape) - 1) / 2)
        affine[:3, 3] += centre - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return Grid(self.shape, affine)

    def at(self, shape: Shape) -> "Crop":
        """The same box at another number of voxels."""
        i, j, k = (s * n / m for s, n, m in zip(self.spacing_mm, self.shape, shape, strict=True))
        return Crop(shape=shape, spacing_mm=(i, j, k))


class Window(_Frozen):
    """Intensities clipped to [low, high], then scaled to [0, 1]."""

    rule: Literal["window"] = "window"
    low: float
    high: float


class Percentiles(_Frozen):
    """Intensities clipped to two percentiles of each scan, then scaled to [0, 1]."""

    rule: Literal["percentiles"] = "percentiles"
    low: float = 0.5
    high: float = 99.5


class Protocol(_Frozen):
    """Which scans, which pairs, which grid: what has to be equal for two numbers to stand in one column.

    Attributes:
        task: the task's name.
        name: the protocol's name.
        revision: goes up with every change that could change a number.
        title: one line for a table's caption.
        train: scan ids of the training side.
        test: scan ids of the test side.
        train_pairs: pairs that training draws from.
        validation_pairs: some of the training side's pairs, to watch the training by; never test scans.
        test_pairs: pairs that are scored.
        labels: number → name of the structures that are scored.
        grid: how a scan is brought onto the common grid.
        quick_shape: the grid's shape in the quick preset.
        intensity: how intensities are brought to [0, 1].
        label_warp: how label maps are warped.
        notes: what a reader has to know, printed below the table.
    """

    task: str
    name: str
    revision: int = Field(ge=1)
    title: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    train_pairs: tuple[PairId, ...]
    validation_pairs: tuple[PairId, ...]
    test_pairs: tuple[PairId, ...]
    labels: Mapping[int, str]
    grid: Annotated[Squeeze | Crop, Field(discriminator="rule")]
    quick_shape: Shape
    intensity: Annotated[Window | Percentiles, Field(discriminator="rule")]
    label_warp: Literal["nearest"] = "nearest"
    notes: tuple[str, ...] = ()

    def decisive(self) -> dict[str, Any]:
        """All of it that could change a number, as JSON data: neither its words nor what a grid was taken from."""
        return self.model_dump(mode="json", exclude={"title", "notes", "quick_shape"})

    @property
    def patients(self) -> frozenset[str]:
        """Of both sides."""
        return frozenset(patient_of(scan) for scan in (*self.train, *self.test))

    @model_validator(mode="after")
    def _nothing_leaks(self) -> "Protocol":
        shared = {patient_of(s) for s in self.train} & {patient_of(s) for s in self.test}
        if shared:
            raise ValueError(f"patients on both sides: {', '.join(sorted(shared))}")
        for side, scans, pairs in (
            ("training", self.train, self.train_pairs + self.validation_pairs),
            ("test", self.test, self.test_pairs),
        ):
            strangers = {s for pair in pairs for s in pair} - set(scans)
            if strangers:
                raise ValueError(f"{side} pairs name scans of the other side: {', '.join(sorted(strangers))}")
        return self

    def at(self, shape: Shape) -> "Protocol":
        """The same protocol on a grid of another number of voxels."""
        return self.model_copy(update={"grid": self.grid.at(shape)})
