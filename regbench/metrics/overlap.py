"""Overlap of label maps."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Num
from torch import Tensor

from regbench.metrics.labels import as_array, checked, counts, joint_counts


def dsc(
    fixed: Num[Tensor, "i j k"] | Num[np.ndarray, "i j k"],
    moved: Num[Tensor, "x y z"] | Num[np.ndarray, "x y z"],
    labels: Iterable[int],
    *,
    moving: Num[Tensor, "a b c"] | Num[np.ndarray, "a b c"] | None = None,
) -> dict[int, float]:
    """Dice similarity coefficient 2·|A ∩ B| / (|A| + |B|) of each label, from 0 to 1 (Dice 1945).

    Args:
        fixed: (i, j, k) label map, whole numbers from 0 to 255.
        moved: the moving label map warped onto the fixed grid.
        labels: the labels to score.
        moving: the moving label map before the warp. Where it is given, it decides which labels are there: a label
            that the warp pushed out of the volume then scores 0 instead of being left out.

    Returns:
        Label → coefficient; a label that is absent from the fixed or from the moved (moving) map is left out.

    Raises:
        BadValueError: for maps of two shapes, values that are no labels, or a label out of range.

    >>> scan = np.zeros((4, 4, 4), np.uint8); scan[1:3] = 1
    >>> dsc(scan, np.roll(scan, 1, axis=0), [1, 2])
    {1: 0.5}
    """
    joint = joint_counts(as_array(fixed), as_array(moved))
    in_fixed, in_moved = joint.sum(1), joint.sum(0)
    present = in_moved if moving is None else counts(as_array(moving))
    return {
        label: float(2 * joint[label, label] / (in_fixed[label] + in_moved[label]))
        for label in checked(labels)
        if in_fixed[label] and present[label]
    }
