"""Storage orders, by way of nibabel, with types."""

from typing import Any

import numpy as np
from nibabel import orientations

Array = np.ndarray[Any, np.dtype[Any]]

_nibabel: Any = orientations


def turn_of(affine: Array) -> Array:
    """(3, 2): for each stored axis, the axis of the closest RAS+ order and its direction, +1 or −1."""
    turn: Array = _nibabel.io_orientation(affine)
    return turn


def inverse(turn: Array) -> Array:
    """The turn back to the stored order."""
    back = np.empty_like(turn)
    for axis, (target, sign) in enumerate(turn):
        back[int(target)] = (axis, sign)
    return back


def turn_array(array: Array, turn: Array) -> Array:
    """An array with its first three axes transposed and flipped; nothing is interpolated."""
    turned: Array = _nibabel.apply_orientation(array, turn)
    return turned


def turn_affine(affine: Array, turn: Array, shape: tuple[int, ...]) -> Array:
    """The affine of the turned array, from that of an array of `shape`."""
    turned: Array = affine @ _nibabel.inv_ornt_aff(turn, shape[:3])
    return turned


def turn_vectors(vectors: Array, turn: Array) -> Array:
    """Vectors in voxels, (..., 3), with their components transposed and flipped as the axes are; not their places."""
    components = np.empty(3, dtype=int)
    components[turn[:, 0].astype(int)] = np.arange(3)
    turned: Array = vectors[..., components] * turn[components, 1].astype(vectors.dtype)
    return turned


def codes(affine: Array) -> str:
    """The stored order in letters: where each axis points to.

    >>> codes(np.diag([-2.0, 2.0, 3.0, 1.0]))
    'LAS'
    """
    return "".join(_nibabel.aff2axcodes(affine))
