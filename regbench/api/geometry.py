"""Volumes on grids, landmarks and displacement fields."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from regbench.api.grid import Affine, Grid, Shape

__all__ = ["Affine", "Field", "Grid", "Landmarks", "Shape", "Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or a label map on its grid.

    Attributes:
        data: (i, j, k); floating point for a scan, unsigned 8 bit for a label map.
        grid: where it lies.
    """

    data: Shaped[Tensor, "i j k"]
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise ValueError(f"A volume of shape {tuple(self.data.shape)} does not fit a grid of {self.grid.shape}.")

    def to(self, device: torch.device | str) -> "Volume":
        """The same volume on another device."""
        return Volume(self.data.to(device), self.grid)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Corresponding points of a pair, in voxel indices (with fractions) of the fixed and of the moving grid.

    Attributes:
        fixed: (n, 3) points of the fixed scan.
        moving: (n, 3) where the same points of the body lie in the moving scan.
    """

    fixed: Float[Tensor, "n 3"]
    moving: Float[Tensor, "n 3"]


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement field: the result of a registration.

    Attributes:
        displacement: (3, i, j, k) in voxels of the fixed grid; moved(x) = moving(x + displacement(x)).
        grid: the fixed scan's grid.
    """

    displacement: Float[Tensor, "3 i j k"]
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.displacement.shape) != (3, *self.grid.shape):
            raise ValueError(
                f"A field on a grid of {self.grid.shape} has shape (3, i, j, k), not {tuple(self.displacement.shape)}."
            )
