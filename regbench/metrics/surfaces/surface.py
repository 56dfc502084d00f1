"""Distances between the surfaces of labels, weighted by surface area.

The definition is that of DeepMind's `surface-distance` package, which the Learn2Reg evaluation uses: a surface element
is a cell of 2×2×2 voxels that is neither wholly inside nor wholly outside; its area is that of marching cubes; its
distance is that to the nearest surface element of the other map.
"""

import math
from collections.abc import Callable, Iterable
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float, Num, UInt8
from scipy.ndimage import find_objects
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics.labels import LABELS, as_array, checked, checked_spacing, counts
from regbench.metrics.surfaces.area import surface_areas
from regbench.metrics.surfaces.cells import Surface, surface_of
from regbench.metrics.surfaces.distance import squared_distances
from regbench.metrics.surfaces.percentile import percentile, whole_voxels

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


def _each_label(
    measure: Callable[[Surface, Surface, Float[np.ndarray, "3"]], float],
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
            values[label] = measure(surface_of(a[box] == label, areas), surface_of(b[box] == label, areas), spacing)
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


def _robust_hausdorff(one: Surface, other: Surface, spacing: Float[np.ndarray, "3"]) -> float:
    return max(percentile(one, other, spacing), percentile(other, one, spacing))


def _average(one: Surface, other: Surface, spacing: Float[np.ndarray, "3"]) -> float:
    unit, scale = whole_voxels(spacing)
    weighted = 0.0
    for surface, target in ((one, other), (other, one)):
        squared = squared_distances(surface.points, target.elements, unit, np.max)
        weighted += float((np.sqrt(squared, dtype=np.float64) * surface.areas).sum())
    return scale * weighted / float(one.areas.sum() + other.areas.sum())
