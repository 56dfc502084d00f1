"""Painting solids into an image and a label map."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, UInt8

from regbench_tasks.phantom.shapes import Points, Solid, Values

Paint = float | Callable[[Points, Values], Values]
Slices = tuple[slice, slice, slice]


class Canvas:
    """An image and a label map under way; later strokes cover earlier ones.

    Args:
        coordinates: (3, i, j, k) where each voxel lies in the anatomy's own space, in mm.
        blur_mm: a voxel's width: a surface that passes through a voxel mixes both sides' intensities.
        background: the image's first value.
    """

    def __init__(self, coordinates: Float32[np.ndarray, "3 i j k"], blur_mm: float, background: float) -> None:
        self.coordinates = coordinates
        self.image: Float32[np.ndarray, "i j k"] = np.full(coordinates.shape[1:], background, dtype=np.float32)
        self.labels: UInt8[np.ndarray, "i j k"] = np.zeros(coordinates.shape[1:], dtype=np.uint8)
        self._blur = np.float32(blur_mm)
        others = [tuple(a for a in range(3) if a != axis) for axis in range(3)]
        self._low = [coordinates[a].min(axis=others[a]) for a in range(3)]
        self._high = [coordinates[a].max(axis=others[a]) for a in range(3)]

    def paint(self, solid: Solid, value: Paint, *, label: int | None = None, opacity: float = 1.0) -> None:
        """Fill a solid with an intensity, or with a function of position and depth; and with a label."""
        block = self.block(solid)
        if block is None:
            return
        points = self.points(block)
        distance = solid(points)
        share = np.clip(np.float32(0.5) - distance / self._blur, 0, 1)
        if opacity < 1:
            share *= np.float32(opacity)
        target = self.image[block]
        colour = np.float32(value) if isinstance(value, int | float) else value(points, distance)
        target += share * (colour - target)
        if label is not None:
            self.labels[block][distance < 0] = label

    def block(self, solid: Solid) -> Slices | None:
        """The part of the grid that can meet the solid."""
        found = []
        for axis in range(3):
            meets = (self._high[axis] > solid.low[axis] - self._blur) & (
                self._low[axis] < solid.high[axis] + self._blur
            )
            where = np.flatnonzero(meets)
            if not len(where):
                return None
            found.append(slice(int(where[0]), int(where[-1]) + 1))
        return found[0], found[1], found[2]

    def points(self, block: Slices) -> Points:
        """x, y, z of a block's voxels in the anatomy's space."""
        x, y, z = (c[block] for c in self.coordinates)
        return x, y, z
