"""The area-weighted 95th percentile of the distances from one surface to another, to the last bit the reference's.

The reference sorts the distances of a feature transform and adds up areas in that order. What is done here can differ
from it by a rounding only: where the percentile falls between two distances, or where different steps have one length
but for rounding. Where that leaves more than one answer, the reference's way is gone.
"""

import math
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.ndimage import distance_transform_edt

from regbench.metrics.surfaces.cells import Surface
from regbench.metrics.surfaces.distance import squared_distances

PERCENTILE = 0.95
NEAR = 1e-9
"""Shares of the area this close may change places by rounding."""


def percentile(surface: Surface, target: Surface, spacing: Float[np.ndarray, "3"]) -> float:
    """The percentile of the distances of one surface's cells to the nearest cell of the other.

    Args:
        surface: whose cells are looked at, each with its area.
        target: in a box of the same shape.
        spacing: millimetres between neighbours along i, j, k.
    """
    unit, scale = whole_voxels(spacing)
    squared = squared_distances(surface.points, target.elements, unit, lambda found: _bounds(found, surface.areas)[1])
    low, high = _bounds(squared, surface.areas)
    if high - low <= NEAR * high:
        steps, lengths = _steps(scale * math.sqrt(low), spacing)
        if len(set(lengths)) == 1:
            return float(lengths[0])
        settled = _settled(surface, target, squared.astype(np.float64) / low, steps, lengths)
        if settled is not None:
            return settled
    return _reference_percentile(surface, target, spacing)


def whole_voxels(spacing: Float[np.ndarray, "3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Isotropic spacing as whole voxels and their size: distances in whole numbers are exact, and faster."""
    return (np.ones(3), float(spacing[0])) if (spacing == spacing[0]).all() else (spacing, 1.0)


def _bounds(squared: Num[np.ndarray, "n"], areas: Float[np.ndarray, "n"]) -> tuple[np.number, np.number]:
    """The squared distances between which the percentile lies, whatever the roundings of the areas' sums."""
    order = np.argsort(squared, kind="stable")
    shares = np.cumsum(areas[order])
    ends = np.searchsorted(shares, shares[-1] * PERCENTILE * np.array([1 - NEAR, 1 + NEAR]))
    low, high = squared[order[np.minimum(ends, len(order) - 1)]]
    return low, high


def _steps(length: float, spacing: Float[np.ndarray, "3"]) -> tuple[Int[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
    """All steps that are this long but for rounding, without signs; their lengths as the reference rounds them."""
    i, j, k = ((np.arange(int(length / step) + 2) * step) ** 2 for step in spacing)
    plane = i[:, None] + j
    rest = np.sqrt(np.maximum(length**2 - plane, 0)) / spacing[2]
    third = np.minimum(np.rint(rest).astype(int), len(k) - 1)
    lengths = np.sqrt(plane + k[third])
    first, second = np.nonzero(np.abs(lengths - length) <= 2 * NEAR * length)
    return np.stack([first, second, third[first, second]], axis=1), lengths[first, second]


def _settled(
    surface: Surface,
    target: Surface,
    shares: Float[np.ndarray, " n"],
    steps: Int[np.ndarray, "m 3"],
    lengths: Float[np.ndarray, " m"],
) -> float | None:
    """The percentile where the points around it are equally far away but for rounding.

    Each of them takes the length of a step that leads it to the target. Which one the reference takes where there are
    several is not known; if the shortest and the longest give one percentile, so does any other.

    Args:
        surface: whose points are looked at.
        target: the other surface.
        shares: squared distances of the points over that of the percentile.
        steps: those that are as long as the percentile.
        lengths: theirs, as the reference rounds them.

    Returns:
        The percentile, or None where it depends on what is not known.
    """
    tied = np.flatnonzero(np.abs(shares - 1) <= 4 * NEAR)
    places = np.stack(np.unravel_index(surface.points[tied], surface.elements.shape), axis=1)
    shortest, longest = np.full(len(tied), np.inf), np.full(len(tied), -np.inf)
    for step, length in zip(steps, lengths, strict=True):
        leads = _lead(places, step, target.elements)
        np.minimum(shortest, length, out=shortest, where=leads)
        np.maximum(longest, length, out=longest, where=leads)
    before = surface.areas[shares < 1 - 4 * NEAR].sum()
    goal = surface.areas.sum() * PERCENTILE * np.array([1 - NEAR, 1 + NEAR])
    found = set()
    for own in (shortest, longest):
        order = np.argsort(own)
        ends = np.searchsorted(before + np.cumsum(surface.areas[tied][order]), goal)
        found.update(own[order[np.minimum(ends, len(order) - 1)]].tolist())
    return found.pop() if len(found) == 1 and math.isfinite(min(found)) else None


def _lead(
    places: Int[np.ndarray, "n 3"], step: Int[np.ndarray, "3"], elements: Bool[np.ndarray, "i j k"]
) -> Bool[np.ndarray, " n"]:
    """From which places the step, in any of its directions, leads to an element."""
    leads = np.zeros(len(places), dtype=bool)
    for signs in product((-1, 1), repeat=3):
        ends = places + step * np.array(signs)
        inside = ((ends >= 0) & (ends < elements.shape)).all(1)
        leads[inside] |= elements[tuple(ends[inside].T)]
    return leads


def _reference_percentile(surface: Surface, target: Surface, spacing: Float[np.ndarray, "3"]) -> float:
    distances = distance_transform_edt(~target.elements, sampling=spacing).ravel()[surface.points]
    order = np.lexsort((surface.areas, distances))
    areas = surface.areas[order]
    rank = int(np.searchsorted(np.cumsum(areas) / np.sum(areas), PERCENTILE))
    return float(distances[order[min(rank, len(order) - 1)]])
