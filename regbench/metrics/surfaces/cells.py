"""The surface of a label as cells of 2×2×2 voxels that are neither wholly inside nor wholly outside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from regbench.metrics.surfaces.area import CODES


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface elements of one label within a box.

    Attributes:
        elements: (i, j, k) which cells are surface elements.
        points: their flat indices.
        areas: (n,) their areas in mm².
    """

    elements: Bool[np.ndarray, "i j k"]
    points: Int[np.ndarray, "n"]
    areas: Float[np.ndarray, "n"]


def surface_of(mask: Bool[np.ndarray, "i j k"], areas: Float[np.ndarray, "256"]) -> Surface:
    """The surface of a mask that is cut to its box.

    Args:
        mask: (i, j, k).
        areas: by neighbourhood code.
    """
    codes = _neighbourhood_codes(mask)
    elements = (codes != 0) & (codes != CODES - 1)
    points = np.flatnonzero(elements)
    return Surface(elements, points, areas[codes.ravel()[points]])


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
