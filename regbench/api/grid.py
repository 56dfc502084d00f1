"""A voxel grid in the world; numpy only, so that reading a record needs no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

Affine = Float[np.ndarray, "4 4"]
Shape = tuple[int, int, int]


def times(numbers: Iterable[float | int]) -> str:
    """The numbers of three axes in words.

    >>> times((96, 80, 128)), times((2.0, 1.5, 3.0))
    ('96×80×128', '2×1.5×3')
    """
    return "×".join(f"{number:g}" for number in numbers)


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in the world.

    Attributes:
        shape: number of voxels along i, j, k.
        affine: (4, 4) float64; maps a voxel index to millimetres in RAS+.
    """

    shape: Shape
    affine: Affine

    @classmethod
    def centred(cls, shape: Sequence[int], spacing_mm: Sequence[float]) -> "Grid":
        """An axis-aligned RAS+ grid whose middle is the world's origin.

        >>> Grid.centred((5, 5, 3), (2.0, 2.0, 4.0)).affine[:3, 3]
        array([-4., -4., -4.])
        """
        i, j, k = (int(n) for n in shape)
        spacing = np.asarray(spacing_mm, dtype=np.float64)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = -spacing * (np.array([i, j, k]) - 1) / 2
        return cls((i, j, k), affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbours along i, j, k."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(0)).tolist()
        return i, j, k

    def to_world(self, index: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Voxel indices (fractions allowed) to millimetres in RAS+."""
        world: Float[np.ndarray, "n 3"] = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return world

    def to_index(self, world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Millimetres in RAS+ to voxel indices, with fractions."""
        inverse = np.linalg.inv(self.affine)
        index: Float[np.ndarray, "n 3"] = world @ inverse[:3, :3].T + inverse[:3, 3]
        return index

    def matches(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids hold the same points, within a tolerance at the grid's far corner."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0.0, 0.0, 0.0], [n - 1.0 for n in self.shape]])
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm) and np.allclose(
            self.affine[:3, :3], other.affine[:3, :3], atol=tolerance_mm
        )
