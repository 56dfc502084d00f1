"""Painting solids into an image and a label map."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from regbench_tasks.phantom.shapes import EVERYWHERE, Number, Points, Solid, Values, single

Paint = Number | Callable[[Points, Values], Values]
Slices = tuple[slice, slice, slice]


class Canvas:
    """An image and a label map under way; later strokes cover earlier ones.

    Args:
        coordinates: (3, i, j, k) where each voxel lies in the anatomy's own space, in mm.
        blur_mm: a voxel's width: a surface that passes through a voxel mixes both sides' intensities.
        background: the image's first value.
    """

    def __init__(self, coordinates: Float32[np.ndarray, "3 i j k"], blur_mm: Number, background: float) -> None:
        self.points: Points = (coordinates[0], coordinates[1], coordinates[2])
        self.image: Float32[np.ndarray, "i j k"] = np.full(coordinates.shape[1:], background, dtype=np.float32)
        self.labels: UInt8[np.ndarray, "i j k"] = np.zeros(coordinates.shape[1:], dtype=np.uint8)
        self.blur_mm = blur_mm
        others = [tuple(a for a in range(3) if a != axis) for axis in range(3)]
        self._low = [coordinates[a].min(axis=others[a]) for a in range(3)]
        self._high = [coordinates[a].max(axis=others[a]) for a in range(3)]

    def paint(self, solid: Solid, value: Paint, *, label: int | None = None) -> None:
        """Fill a solid with an intensity, or with a function of position and depth; and with a label."""
        block = self._block(solid)
        if block is None:
            return
        near = self._near(solid, block)
        x, y, z = (p[block][near] for p in self.points)
        distance = solid((x, y, z))
        share = np.clip(np.float32(0.5) - distance / self.blur_mm, 0, 1)
        seen = np.flatnonzero(share)
        self._mix(block, near, seen, share, _colour(value, (x[seen], y[seen], z[seen]), distance[seen]))
        if label is not None:
            self._label(block, near, distance < 0, label)

    def _mix(
        self, block: Slices, near: Bool[np.ndarray, "i j k"], seen: np.ndarray, share: Values, new: Values
    ) -> None:
        view = self.image[block]
        values = view[near]
        values[seen] += share[seen] * (new - values[seen])
        view[near] = values

    def _label(self, block: Slices, near: Bool[np.ndarray, "i j k"], inner: np.ndarray, label: int) -> None:
        view = self.labels[block]
        values = view[near]
        values[inner] = label
        view[near] = values

    def _near(self, solid: Solid, block: Slices) -> Bool[np.ndarray, "i j k"]:
        """Which voxels of a block lie in the solid's box."""
        near = np.ones(self.image[block].shape, dtype=bool)
        for p, low, high in zip(self.points, solid.low, solid.high, strict=True):
            if low > -EVERYWHERE:
                near &= p[block] > np.float32(low) - self.blur_mm
            if high < EVERYWHERE:
                near &= p[block] < np.float32(high) + self.blur_mm
        return near

    def _block(self, solid: Solid) -> Slices | None:
        """The part of the grid that can meet the solid."""
        found = []
        for axis in range(3):
            meets = (self._high[axis] > solid.low[axis] - self.blur_mm) & (
                self._low[axis] < solid.high[axis] + self.blur_mm
            )
            where = np.flatnonzero(meets)
            if not len(where):
                return None
            found.append(slice(int(where[0]), int(where[-1]) + 1))
        return found[0], found[1], found[2]


def _colour(value: Paint, points: Points, distance: Values) -> Values:
    if isinstance(value, int | float):
        return np.full_like(distance, value)
    return single(value(points, distance))
