"""Label maps as numpy arrays, and which labels of a pair are scored."""

from collections.abc import Iterable
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float, Int, Num, UInt8
from torch import Tensor

from regbench.errors import BadValueError

LABELS = 256
"""How many numbers an unsigned 8 bit label map can hold."""


def as_array(labels: Num[Tensor, "i j k"] | Num[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
    """A label map as an unsigned 8 bit numpy array; nothing is copied where it is one already.

    Raises:
        BadValueError: for values that are no whole numbers from 0 to 255.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    if array.dtype == np.uint8:
        return array
    if array.size and not (array.min() >= 0 and array.max() < LABELS and np.array_equal(array, np.trunc(array))):
        raise BadValueError(
            f"A label map holds whole numbers from 0 to {LABELS - 1}; this one has values from {array.min()} to "
            f"{array.max()} of type {array.dtype}. Round it, or number its labels anew."
        )
    return array.astype(np.uint8)


def joint_counts(fixed: UInt8[np.ndarray, "i j k"], moved: UInt8[np.ndarray, "x y z"]) -> Int[np.ndarray, "256 256"]:
    """How many voxels have label a in the fixed and label b in the moved map, for all a and b.

    Raises:
        BadValueError: for maps of two shapes.
    """
    if fixed.shape != moved.shape:
        raise BadValueError(
            f"Two label maps are compared voxel by voxel and need one shape; the fixed one has {fixed.shape}, the "
            f"other {moved.shape}. Warp the moving labels onto the fixed grid first."
        )
    pairs = (fixed.astype(np.uint16) << 8 | moved).ravel()
    foreground = pairs[pairs != 0]
    joint = np.bincount(foreground, minlength=LABELS * LABELS)
    joint[0] = pairs.size - foreground.size
    return joint.reshape(LABELS, LABELS)


def counts(labels: UInt8[np.ndarray, "i j k"]) -> Int[np.ndarray, "256"]:
    """How many voxels have each label."""
    values = labels.ravel()
    foreground = values[values != 0]  # most voxels are background: counting them one by one takes longest
    found = np.bincount(foreground, minlength=LABELS)
    found[0] = values.size - foreground.size
    return found


def checked(labels: Iterable[int]) -> list[int]:
    """The labels as a list.

    Raises:
        BadValueError: for a label that no label map can hold.
    """
    numbers = [int(label) for label in labels]
    strangers = [label for label in numbers if not 0 <= label < LABELS]
    if strangers:
        raise BadValueError(f"A label is a whole number from 0 to {LABELS - 1}, not {strangers[0]}.")
    return numbers


def checked_spacing(spacing_mm: Iterable[SupportsFloat]) -> Float[np.ndarray, "3"]:
    """Three spacings as float64.

    Raises:
        BadValueError: if they are not three positive finite numbers.
    """
    spacing = np.array([float(step) for step in spacing_mm])
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise BadValueError(
            f"A spacing is three positive numbers, the millimetres between neighbours along i, j, k; not {spacing}."
        )
    return spacing
