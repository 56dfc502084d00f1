"""Non-diffeomorphic volume: how much of space a digital displacement field turns inside out.

Liu, Chen, Wei, Carass and Prince, "On Finite Difference Jacobian Computation in Deformable Image Registration", IJCV
2024 (arXiv 2212.06060). Central differences at a voxel do not look at the voxel itself and miss folding of single
voxels. Here every cube between eight voxel centres is divided into five tetrahedra, in both of the two ways, and the
volumes of those ten that the field turns inside out are added up, half for each way.
"""

from collections.abc import Iterator
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics.finite import require_finite

CROP = 1
SLAB_PLANES = 8

Step = tuple[int, int, int]
Vector = tuple[Tensor, Tensor, Tensor]
_UNITS: tuple[Step, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_DIAGONALS: tuple[Step, ...] = ((1, 1, 0), (0, 1, 1), (1, 0, 1))


def non_diffeomorphic_volume_percent(u: Float[Tensor, "3 i j k"]) -> float:
    """Volume that is turned inside out, in percent of the volume measured, one voxel cropped on each side.

    To every voxel belong the eight tetrahedra between itself and a neighbour along each axis, and the two central
    tetrahedra of the cubes before and behind it.

    Args:
        u: (3, i, j, k) displacement in voxels, at least 3 voxels along each axis.

    Raises:
        BadValueError: for a field that is not finite or too small.
    """
    shape = tuple(u.shape[1:])
    if min(shape) <= 2 * CROP:
        raise BadValueError(
            f"The non-diffeomorphic volume needs at least {2 * CROP + 1} voxels along each axis, as one is cropped on "
            f"each side; the field has {shape}."
        )
    require_finite(u)
    planes = shape[0] - 2 * CROP
    folded = sum(
        _folded_volume(u[:, start : min(start + SLAB_PLANES, planes) + 2 * CROP])
        for start in range(0, planes, SLAB_PLANES)
    )
    return 100 * folded / (planes * (shape[1] - 2 * CROP) * (shape[2] - 2 * CROP))


def _folded_volume(u: Float[Tensor, "3 i j k"]) -> float:
    """In voxels; each determinant is six times a tetrahedron's volume, and each of the two divisions counts half."""
    return sum(float(determinant.clamp_(max=0).sum(dtype=torch.float64)) for determinant in _determinants(u)) / -12


def _determinants(u: Float[Tensor, "3 i j k"]) -> Iterator[Float[Tensor, "a b c"]]:
    """The ten tetrahedra of each inner voxel: six times their signed volumes, 1 or (central ones) 2 where u is zero."""
    ahead = [_edge(u, axis, 1) for axis in _UNITS]
    behind = [_edge(u, axis, -1) for axis in _UNITS]
    for second, third in product(*zip(ahead[1:], behind[1:], strict=True)):
        normal = _cross(second, third)
        for first in (ahead[0], behind[0]):
            yield _dot(first, normal)
    for side in (1, -1):
        first, second, third = (_edge(u, diagonal, side) for diagonal in _DIAGONALS)
        yield _dot(first, _cross(second, third))


def _edge(u: Float[Tensor, "3 i j k"], step: Step, side: int) -> Vector:
    """Where the step from each inner voxel, or (side -1) to it, is taken by the field."""
    inner = u[(slice(None), *(slice(CROP, n - CROP) for n in u.shape[1:]))]
    moved = (slice(CROP + side * along, n - CROP + side * along) for n, along in zip(u.shape[1:], step, strict=True))
    other = u[(slice(None), *moved)]
    i, j, k = other - inner if side == 1 else inner - other
    for component, along in zip((i, j, k), step, strict=True):
        component += along
    return i, j, k


def _cross(one: Vector, other: Vector) -> Vector:
    """The vector product; torch's own is ten times slower along the first axis."""
    (a, b, c), (x, y, z) = one, other
    return b * z - c * y, c * x - a * z, a * y - b * x


def _dot(one: Vector, other: Vector) -> Tensor:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
