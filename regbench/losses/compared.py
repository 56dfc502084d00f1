"""Two images that a loss compares voxel by voxel."""

from torch import Tensor

from regbench.errors import BadValueError
from regbench.spatial.precision import at_least_float32


def compared(fixed: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """Both of at least float32.

    Raises:
        BadValueError: for images of two shapes, which torch might stretch over each other without a word.
    """
    if fixed.shape != moved.shape:
        raise BadValueError(
            f"A loss compares images of one shape voxel by voxel, not of {tuple(fixed.shape)} and {tuple(moved.shape)}."
        )
    fixed, moved = at_least_float32(fixed, moved)
    return fixed, moved
