"""Which pair and which slices are shown: chosen by rule, the same for every row, never by hand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from regbench.api import PairId
from regbench.leaderboard import PRIMARY, Board

_THINNEST = 0.4
PAIR_RULE = "the test pair with the median Initial DSC"
SLICE_RULE = "each slice is the one with the largest labelled area of the fixed scan"


def median_pair(board: Board) -> PairId:
    """The test pair whose Initial DSC is the median, the lower of two; the middle of the list without Initial."""
    pairs, initial = board.protocol.test_pairs, board.initial
    if initial is None or PRIMARY not in initial.values:
        return pairs[(len(pairs) - 1) // 2]
    values = initial.per_pair(PRIMARY)
    order = [int(n) for n in np.argsort(values, kind="stable") if np.isfinite(values[n])]
    return pairs[order[(len(order) - 1) // 2]] if order else pairs[(len(pairs) - 1) // 2]


@dataclass(frozen=True, slots=True)
class Plane:
    """A slice through a volume in RAS+ order, seen as radiologists see it: the patient's right on the left.

    Attributes:
        name: "axial" or "coronal".
        across: the axis that it is perpendicular to.
        place: the voxel index along that axis.
        spacing_mm: of the picture's two axes.
    """

    name: str
    across: int
    place: int
    spacing_mm: tuple[float, float]

    @property
    def axes(self) -> tuple[int, int]:
        """The volume's axes that run to the right and up."""
        right, up = (axis for axis in range(3) if axis != self.across)
        return right, up

    def cut(self, volume: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "up right"]:
        """The slice as a picture: rows go up, columns to the patient's left."""
        shown: Shaped[np.ndarray, "up right"] = volume.take(self.place, axis=self.across).T
        return shown

    def cut_field(self, u: Float[np.ndarray, "3 i j k"]) -> Float[np.ndarray, "2 up right"]:
        """The displacement within the slice, in voxels: along the picture's columns, then along its rows."""
        return np.stack([self.cut(u[axis]) for axis in self.axes])


def planes(labels: UInt8[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]) -> list[Plane]:
    """The axial slice, and the coronal one unless the volume is too thin for it to show anything."""
    extent = [n * s for n, s in zip(labels.shape, spacing_mm, strict=True)]
    found = [_plane("axial", 2, labels, spacing_mm)]
    if extent[2] >= _THINNEST * extent[0] and labels.shape[2] >= _THINNEST * labels.shape[0]:
        found.append(_plane("coronal", 1, labels, spacing_mm))
    return found


def _plane(name: str, across: int, labels: UInt8[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]) -> Plane:
    others = tuple(axis for axis in range(3) if axis != across)
    area = (labels > 0).sum(axis=others)
    place = int(area.argmax()) if area.any() else labels.shape[across] // 2
    return Plane(name, across, place, (spacing_mm[others[0]], spacing_mm[others[1]]))
