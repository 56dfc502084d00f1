"""The area of a label's surface within a cell of 2×2×2 voxels, by marching cubes.

Lorensen and Cline, SIGGRAPH 1987. A cell's eight corners are voxel centres. Each edge between a corner inside and a
corner outside is cut at its middle; the cuts around each connected group of corners form one polygon. Where inside and
outside could change roles, the minority is taken as the separate part (inside, where it is four against four). A
polygon that is not flat is divided into the triangles whose areas add up to most. The resulting areas are those of the
`surface-distance` package, on which Learn2Reg's HD95 rests.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float

from regbench.metrics.labels import checked_spacing

Corner = tuple[int, int, int]
Triangle = tuple[int, int, int]
AreaVector = tuple[float, float, float]

CODES = 256
MOST_TRIANGLES = 4
CORNERS: tuple[Corner, ...] = tuple((code >> 2 & 1, code >> 1 & 1, code & 1) for code in range(8))


def surface_areas(spacing_mm: Iterable[SupportsFloat]) -> Float[np.ndarray, "256"]:
    """Area in mm² of the surface within a cell, by the cell's neighbourhood code.

    Args:
        spacing_mm: millimetres between neighbours along i, j, k.

    Returns:
        (256,) areas; bit 4a + 2b + c of a code says whether corner (a, b, c) is inside.

    Raises:
        BadValueError: if the spacing is not three positive numbers.
    """
    i, j, k = checked_spacing(spacing_mm)
    vectors = _area_vectors() * np.array([j * k, i * k, i * j])
    areas: Float[np.ndarray, "256"] = np.sqrt((vectors**2).sum(2)).sum(1)  # noqa: UP037 - a size, not a name
    return areas


@cache
def _area_vectors() -> Float[np.ndarray, "256 4 3"]:
    """The triangles of every code, the largest first: normal times area in a cell of unit spacing, zero-padded."""
    table = np.zeros((CODES, MOST_TRIANGLES, 3))
    for code in range(CODES):
        inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
        minority = inside if len(inside) <= len(CORNERS) // 2 else set(CORNERS) - inside
        vectors = [vector for group in _connected(minority) for vector in _triangulated(group)]
        for row, vector in enumerate(sorted(vectors, key=lambda vector: (_area(vector), vector), reverse=True)):
            table[code, row] = vector
    return table


def _connected(corners: set[Corner]) -> Iterator[frozenset[Corner]]:
    """The groups of corners that hang together along edges of the cell."""
    rest = set(corners)
    while rest:
        group, front = set[Corner](), {min(rest)}
        while front:
            rest -= front
            group |= front
            front = {corner for corner in rest if any(_differ(corner, other) == 1 for other in front)}
        yield frozenset(group)


def _polygon(group: frozenset[Corner]) -> list[Corner]:
    """The middles of the edges that leave a group, in order around it, in half edges."""
    cuts = [
        (inside[0] + outside[0], inside[1] + outside[1], inside[2] + outside[2])
        for inside in sorted(group)
        for outside in CORNERS
        if outside not in group and _differ(inside, outside) == 1
    ]
    polygon = [cuts.pop(0)]
    while cuts:
        following = next(cut for cut in cuts if _on_one_face(polygon[-1], cut))
        cuts.remove(following)
        polygon.append(following)
    return polygon


@cache
def _triangulated(group: frozenset[Corner]) -> list[AreaVector]:
    """The area vectors of the triangles around a group: the most area, then the least for the largest triangle."""
    points = np.array(_polygon(group)) / 2
    choices = []
    for triangles in _triangulations(tuple(range(len(points)))):
        vectors = [_area_vector(points[list(triangle)]) for triangle in triangles]
        areas = sorted((_area(vector) for vector in vectors), reverse=True)
        choices.append((round(sum(areas), 9), [-area for area in areas], vectors))
    return max(choices)[2]


def _triangulations(polygon: tuple[int, ...]) -> Iterator[list[Triangle]]:
    """Every way to divide a polygon into triangles of its own vertices."""
    if len(polygon) < 3:
        yield []
        return
    first, last = polygon[0], polygon[-1]
    for middle in range(1, len(polygon) - 1):
        for before in _triangulations(polygon[: middle + 1]):
            for after in _triangulations(polygon[middle:]):
                yield [*before, (first, polygon[middle], last), *after]


def _area_vector(triangle: Float[np.ndarray, "3 3"]) -> AreaVector:
    """Normal times area, signs dropped: only lengths count, at whatever spacing."""
    one, other = np.diff(triangle, axis=0)
    x, y, z = (np.abs(np.cross(one, other)) / 2).tolist()
    return x, y, z


def _area(vector: AreaVector) -> float:
    return round(math.hypot(*vector), 9)  # so that equal areas are equal however they were summed


def _differ(one: Corner, other: Corner) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _on_one_face(one: Corner, other: Corner) -> bool:
    """Whether two cuts (in half edges) lie on one face of the cell."""
    return any(a == b and a != 1 for a, b in zip(one, other, strict=True))
