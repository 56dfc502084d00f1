"""Exact distances from given points to the nearest of some voxels.

Distances along the first axis are found for all voxels at once, by recursion. From each point, the lines that run along
that axis are then visited in the order of their distance, until none can hold anything nearer than what was found.
Between the surfaces of two label maps this takes few visits: several times less work than a distance transform. Where
they lie so far apart that it would take many, the transform is made.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt16
from scipy.ndimage import distance_transform_edt

FIRST_REACH = 4
"""Steps along the finer of the other axes that the search goes at first; it doubles as long as the answer needs it."""
VISITS = 1 << 16
"""Lines visited at once, all points together: so many stay in a core's own cache."""
LEAST_LINES = 8
"""Lines that each point visits at least between two looks at which points are done."""
MOST_VISITS = 64
"""For each voxel of the volume, all points together: a distance transform takes about as long as so many visits."""
ROUNDING = 1e-9
MOST_STEPS = 180
"""So many steps squared, twice, fit 16 bits."""


def squared_distances(
    points: Int[np.ndarray, "n"],
    targets: Bool[np.ndarray, "i j k"],
    spacing: Float[np.ndarray, "3"],
    needed: Callable[[Any], Any],
) -> Num[np.ndarray, "n"]:
    """The squared distance of each point to the nearest target voxel, right up to what is needed.

    Args:
        points: flat indices into the volume of the targets.
        targets: (i, j, k); at least one voxel is a target.
        spacing: between neighbours along i, j, k.
        needed: given squared distances of which some may still be too large, the greatest that the answer depends on.

    Returns:
        (n,) squared distances: whole numbers where the spacing is 1 along all axes, else float64 summed in the order of
        the axes. Those beyond what is needed may be too large.
    """
    along_first = _along_first_axis(targets, spacing)
    best: np.ndarray = along_first.ravel()[points]
    places = np.unravel_index(points, targets.shape)
    done, reach = 0.0, FIRST_REACH * float(spacing[1:].min())
    while (bound := float(needed(best))) > done**2:
        reach = min(reach, math.sqrt(bound) * (1 + ROUNDING))
        lines = _Lines.between(done, reach, along_first, spacing)
        if len(lines.offsets) * np.count_nonzero(best > done**2) > MOST_VISITS * targets.size:
            return _by_transform(places, targets, spacing).astype(best.dtype)
        _visit(lines, places, best)
        done, reach = reach, 2 * reach
    return best


def _by_transform(
    places: tuple[np.ndarray, ...], targets: Bool[np.ndarray, "i j k"], spacing: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " n"]:
    """The squared distances of points at these places, by a distance transform of the whole volume."""
    nearest = distance_transform_edt(~targets, sampling=spacing, return_distances=False, return_indices=True)
    a, b, c = (
        ((place - found[places]) * step) ** 2 for place, found, step in zip(places, nearest, spacing, strict=True)
    )
    squares: Float[np.ndarray, " n"] = a + b + c
    return squares


@dataclass(frozen=True, eq=False)
class _Lines:
    """The lines along the first axis whose distance from a line lies within a ring.

    Attributes:
        values: squared distances along the lines; the two other axes are padded, and so is the front, so that a visit
            beyond the volume finds nothing there.
        strides: from a value to the next along each axis.
        origin: index of the volume's first value.
        offsets: (m,) from a value to the one at the same height of another line, the nearest line first.
        across: (2, m) squared distances of these lines along the second and along the third axis.
    """

    values: Num[np.ndarray, "size"]
    strides: tuple[int, int, int]
    origin: int
    offsets: Int[np.ndarray, "m"]
    across: Num[np.ndarray, "2 m"]

    @classmethod
    def between(
        cls, done: float, reach: float, along_first: Num[np.ndarray, "i j k"], spacing: Float[np.ndarray, "3"]
    ) -> "_Lines":
        """The lines farther than `done` and at most as far as `reach`."""
        i, j, k = along_first.shape
        rows, columns = (
            min(n - 1, int(reach / step + ROUNDING)) for n, step in zip((j, k), spacing[1:].tolist(), strict=True)
        )
        row, plane = k + columns, (j + rows) * (k + columns)
        origin = rows * row + columns
        values = np.full(origin + i * plane, _far(along_first.dtype), along_first.dtype)
        values[origin:].reshape(i, j + rows, row)[:, :j, :k] = along_first
        a, b = np.arange(-rows, rows + 1)[:, None], np.arange(-columns, columns + 1)
        across = np.stack(np.broadcast_arrays((a * spacing[1]) ** 2, (b * spacing[2]) ** 2)).reshape(2, -1)
        distances = np.sqrt(across.sum(0))
        order = np.argsort(distances, kind="stable")
        order = order[(distances[order] > done) & (distances[order] <= reach * (1 + ROUNDING))]
        return cls(values, (plane, row, 1), origin, (a * row + b).ravel()[order], across[:, order].astype(values.dtype))


def _visit(lines: _Lines, places: tuple[np.ndarray, ...], best: Num[np.ndarray, "n"]) -> None:
    """Lower the squared distances to what the lines hold."""
    starts = lines.origin + np.stack(places, axis=1) @ np.array(lines.strides)
    nearest = lines.across[0] + lines.across[1]
    at = 0
    while at < len(lines.offsets):
        open_ = np.flatnonzero(best > nearest[at])
        if not open_.size:
            return
        stop = at + max(LEAST_LINES, VISITS // open_.size)
        found = lines.values[np.add.outer(lines.offsets[at:stop], starts[open_])]
        for square in lines.across[:, at:stop]:
            found += square[:, None]
        best[open_] = np.minimum(best[open_], found.min(0))
        at = stop


def _along_first_axis(targets: Bool[np.ndarray, "i j k"], spacing: Float[np.ndarray, "3"]) -> Num[np.ndarray, "i j k"]:
    """The squared distance along the first axis alone; far where the line holds no target."""
    short = sum((n - 1) ** 2 for n in targets.shape) <= MOST_STEPS**2
    steps = _steps_along_first_axis(targets, none=MOST_STEPS + 1 if short else 1 << 15)
    lengths: Num[np.ndarray, "i j k"]
    if (spacing == 1).all():
        lengths = steps if short else steps.astype(np.uint32)
    else:
        lengths = steps * spacing[0]
        lengths[steps >= len(targets)] = np.inf
    lengths *= lengths
    return lengths


def _steps_along_first_axis(targets: Bool[np.ndarray, "i j k"], none: int) -> UInt16[np.ndarray, "i j k"]:
    steps = np.full(targets.shape, none, np.uint16)
    steps[targets] = 0
    for ahead, behind in ((steps[1:], steps[:-1]), (steps[-2::-1], steps[:0:-1])):
        for plane, before in zip(ahead, behind, strict=True):
            np.minimum(plane, before + np.uint16(1), out=plane)
    return steps


def _far(dtype: np.dtype[Any]) -> int | float:
    """What stands for no target at all."""
    return {"u2": (MOST_STEPS + 1) ** 2, "u4": 1 << 30}.get(dtype.str[1:], math.inf)
