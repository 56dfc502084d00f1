"""Where an image lies, and in words how two placements differ."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regbench.api import Grid
from regbench.api.grid import times
from regbench.data.files.nifti import Stored
from regbench.data.files.orientation import codes

_TOLERANCE = 0.1  # of the smallest spacing: what the rounding of a header may move a voxel by


@dataclass(frozen=True, eq=False)
class Placement:
    """Where an image lies.

    Attributes:
        grid: in the order closest to RAS+.
        orientation: the stored order, such as "LPS".
    """

    grid: Grid
    orientation: str

    @classmethod
    def of(cls, stored: Stored, grid: Grid) -> "Placement":
        """The placement of a stored image whose canonical grid is known."""
        return cls(grid, codes(stored.affine))

    def matches(self, other: "Placement") -> bool:
        """Whether both hold the same points of the world, in whatever order they are stored."""
        return self.grid.matches(other.grid, _TOLERANCE * min(self.grid.spacing_mm))

    def difference(self, other: "Placement", *, anywhere: bool = False) -> str | None:
        """What this placement has and the other has not, in words; None if they match.

        Args:
            other: what is expected.
            anywhere: the origins may differ.
        """
        a, b = self.grid, other.grid
        if a.shape != b.shape:
            return f"its shape is {times(a.shape)}, not {times(b.shape)}"
        if self.matches(other):
            return None
        said = []
        if not np.allclose(a.spacing_mm, b.spacing_mm, rtol=1e-3):
            said.append(f"its spacing is {times(a.spacing_mm)} mm, not {times(b.spacing_mm)} mm")
        if self.orientation != other.orientation and not anywhere:
            said.append(f"its orientation is {self.orientation}, not {other.orientation}")
        elif not np.allclose(_directions(a), _directions(b), atol=1e-3):
            said.append("its orientation is turned (the directions in its affine differ)")
        if not said and not anywhere:
            said.append(f"its origin lies {np.linalg.norm(a.affine[:3, 3] - b.affine[:3, 3]):.3g} mm away")
        return " and ".join(said) or None


def _directions(grid: Grid) -> npt.NDArray[np.float64]:
    directions: npt.NDArray[np.float64] = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    return directions
