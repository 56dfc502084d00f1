"""Distances between the surfaces of labels, weighted by surface area.

The definition is that of DeepMind's `surface-distance` package, which the Learn2Reg evaluation uses: a surface element
is a cell of 2×2×2 voxels that is neither wholly inside nor wholly outside; its area is that of marching cubes; its
distance is that to the nearest surface element of the other map.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8
from scipy.ndimage import distance_transform_edt, find_objects
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics.distance import squared_distances
from regbench.metrics.labels import LABELS, as_array, checked, checked_spacing, counts
from regbench.metrics.surface_area import CODES, surface_areas

PERCENTILE = 0.95
NEAR = 1e-9
"""Shares of the area this close may change places by rounding."""

Box = tuple[slice, ...]


def hd95(
    fixed: Num[Tensor, "i j k"] | Num[np.ndarray, "i j k"],
    moved: Num[Tensor, "x y z"] | Num[np.ndarray, "x y z"],
    labels: Iterable[int],
    spacing_mm: Iterable[SupportsFloat],
    *,
    moving: Num[Tensor, "a b c"] | Num[np.ndarray, "a b c"] | None = None,
) -> dict[int, float]:
    """Robust Hausdorff distance of each label: the greater of the two directions' area-weighted 95th percentiles.

    Args:
        fixed: (i, j, k) label map, whole numbers from 0 to 255.
        moved: the moving label map warped onto the fixed grid.
        labels: the labels to score.
        spacing_mm: millimetres between neighbours along i, j, k; (1, 1, 1) gives voxels, as Learn2Reg has it.
        moving: the moving label map before the warp. Where it is given, it decides which labels are there: a label
            that the warp pushed out of the volume then scores infinity instead of being left out.

    Returns:
        Label → distance; a label that is absent from the fixed or from the moved (moving) map is left out.

    Raises:
        BadValueError: for maps of two shapes, values that are no labels, a label out of range, or an impossible
            spacing.
    """
    return _each_label(_robust_hausdorff, fixed, moved, labels, spacing_mm, moving)


def assd(
    fixed: Num[Tensor, "i j k"] | Num[np.ndarray, "i j k"],
    moved: Num[Tensor, "x y z"] | Num[np.ndarray, "x y z"],
    labels: Iterable[int],
    spacing_mm: Iterable[SupportsFloat],
    *,
    moving: Num[Tensor, "a b c"] | Num[np.ndarray, "a b c"] | None = None,
) -> dict[int, float]:
    """Average symmetric surface distance of each label: the area-weighted mean over both surfaces together.

    Arguments, result and errors are those of `hd95`.
    """
    return _each_label(_average, fixed, moved, labels, spacing_mm, moving)


@dataclass(frozen=True, eq=False)
class _Surface:
    """The surface elements of one label within a box.

    Attributes:
        elements: (i, j, k) which cells are surface elements.
        points: their flat indices.
        areas: (n,) their areas in mm².
    """

    elements: Bool[np.ndarray, "i j k"]
    points: Int[np.ndarray, "n"]
    areas: Float[np.ndarray, "n"]


def _each_label(
    measure: Callable[[_Surface, _Surface, Float[np.ndarray, "3"]], float],
    fixed: Num[Tensor, "i j k"] | Num[np.ndarray, "i j k"],
    moved: Num[Tensor, "x y z"] | Num[np.ndarray, "x y z"],
    labels: Iterable[int],
    spacing_mm: Iterable[SupportsFloat],
    moving: Num[Tensor, "a b c"] | Num[np.ndarray, "a b c"] | None,
) -> dict[int, float]:
    """Label → measure of its two surfaces."""
    a, b, spacing = as_array(fixed), as_array(moved), checked_spacing(spacing_mm)
    if a.shape != b.shape:
        raise BadValueError(
            f"Distances between surfaces need label maps of one shape; the fixed one has {a.shape}, the other "
            f"{b.shape}. Warp the moving labels onto the fixed grid first."
        )
    areas = surface_areas(spacing)
    first, second = _boxes(a), _boxes(b)
    present = [box is not None for box in second] if moving is None else counts(as_array(moving)) > 0
    values = {}
    for label in checked(labels):
        if first[label] is None or not present[label]:
            continue
        box = _union(first[label], second[label])
        if box is None:
            values[label] = math.inf
        else:
            values[label] = measure(_surface(a[box] == label, areas), _surface(b[box] == label, areas), spacing)
    return values


def _boxes(labels: UInt8[np.ndarray, "i j k"]) -> list[Box | None]:
    """The box of each label; None where the map does not hold it. The background's is the whole volume."""
    whole: Box | None = None if labels.all() else tuple(slice(0, n) for n in labels.shape)
    return [whole, *find_objects(labels, max_label=LABELS - 1)]


def _union(one: Box | None, other: Box | None) -> Box | None:
    """The box around both, if both are there."""
    if one is None or other is None:
        return None
    return tuple(slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(one, other, strict=True))


def _surface(mask: Bool[np.ndarray, "i j k"], areas: Float[np.ndarray, "256"]) -> _Surface:
    codes = _neighbourhood_codes(mask)
    elements = (codes != 0) & (codes != CODES - 1)
    points = np.flatnonzero(elements)
    return _Surface(elements, points, areas[codes.ravel()[points]])


def _neighbourhood_codes(mask: Bool[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i+1 j+1 k+1"]:
    """The eight voxels of every cell as the bits of a number; outside the box there is nothing.

    Bit 4a + 2b + c is the voxel a, b, c steps before the cell's last one.
    """
    codes = mask.view(np.uint8)
    for axis in (2, 1, 0):
        shape = tuple(n + (a == axis) for a, n in enumerate(codes.shape))
        wider = np.zeros(shape, np.uint8)
        last, previous = [slice(None)] * 3, [slice(None)] * 3
        last[axis], previous[axis] = slice(0, -1), slice(1, None)
        wider[tuple(last)] = codes
        wider[tuple(previous)] |= codes << (1 << (2 - axis))
        codes = wider
    return codes


def _robust_hausdorff(one: _Surface, other: _Surface, spacing: Float[np.ndarray, "3"]) -> float:
    return max(_percentile(one, other, spacing), _percentile(other, one, spacing))


def _average(one: _Surface, other: _Surface, spacing: Float[np.ndarray, "3"]) -> float:
    unit, scale = _unit(spacing)
    weighted = 0.0
    for surface, target in ((one, other), (other, one)):
        squared = squared_distances(surface.points, target.elements, unit, np.max)
        weighted += float((np.sqrt(squared, dtype=np.float64) * surface.areas).sum())
    return scale * weighted / float(one.areas.sum() + other.areas.sum())


def _percentile(surface: _Surface, target: _Surface, spacing: Float[np.ndarray, "3"]) -> float:
    """The 95th percentile of the distances from one surface to the other, to the last bit that of the reference.

    The reference sorts the distances of a feature transform and adds up areas in that order. What is done here can
    differ from it by a rounding only: where the percentile falls between two distances, or where different steps have
    one length but for rounding. In these cases the reference's way is gone.
    """
    unit, scale = _unit(spacing)
    squared = squared_distances(surface.points, target.elements, unit, lambda found: _bounds(found, surface.areas)[1])
    low, high = _bounds(squared, surface.areas)
    if high - low <= NEAR * high:
        roundings = _roundings(scale * math.sqrt(low), spacing)
        if len(roundings) == 1:
            return roundings.pop()
    return _reference_percentile(surface, target, spacing)


def _unit(spacing: Float[np.ndarray, "3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Isotropic spacing as whole voxels and their size: distances in whole numbers are exact, and faster."""
    return (np.ones(3), float(spacing[0])) if (spacing == spacing[0]).all() else (spacing, 1.0)


def _bounds(squared: Num[np.ndarray, "n"], areas: Float[np.ndarray, "n"]) -> tuple[np.number, np.number]:
    """The squared distances between which the percentile lies, whatever the roundings of the areas' sums."""
    order = np.argsort(squared, kind="stable")
    shares = np.cumsum(areas[order])
    ends = np.searchsorted(shares, shares[-1] * PERCENTILE * np.array([1 - NEAR, 1 + NEAR]))
    low, high = squared[order[np.minimum(ends, len(order) - 1)]]
    return low, high


def _roundings(length: float, spacing: Float[np.ndarray, "3"]) -> set[float]:
    """What a distance may come out as: the lengths, as the reference rounds them, of all steps that are as long."""
    i, j, k = ((np.arange(int(length / step) + 2) * step) ** 2 for step in spacing)
    plane = i[:, None] + j
    rest = np.sqrt(np.maximum(length**2 - plane, 0)) / spacing[2]
    lengths = np.sqrt(plane + k[np.minimum(np.rint(rest).astype(int), len(k) - 1)])
    return set(lengths[np.abs(lengths - length) <= 2 * NEAR * length].tolist())


def _reference_percentile(surface: _Surface, target: _Surface, spacing: Float[np.ndarray, "3"]) -> float:
    distances = distance_transform_edt(~target.elements, sampling=spacing).ravel()[surface.points]
    order = np.lexsort((surface.areas, distances))
    areas = surface.areas[order]
    rank = int(np.searchsorted(np.cumsum(areas) / np.sum(areas), PERCENTILE))
    return float(distances[order[min(rank, len(order) - 1)]])
