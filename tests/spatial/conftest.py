"""Fields and images with known answers."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

LinearField = Callable[..., Tensor]


@pytest.fixture(scope="session")
def linear_field() -> LinearField:
    """`linear_field(matrix, shape, centre=None)`: u(x) = matrix · (x − centre), (3, i, j, k) float64."""

    def make(matrix: np.ndarray, shape: Sequence[int], centre: Sequence[float] | None = None) -> Tensor:
        origin = np.zeros(3) if centre is None else np.asarray(centre)
        offset = np.indices(shape) - origin[:, None, None, None]
        return torch.from_numpy(np.tensordot(matrix, offset, 1))

    return make


@pytest.fixture(scope="session")
def rotation() -> np.ndarray:
    """A rotation by 0.2 radians about an oblique axis."""
    x, y, z = np.array([1.0, 2.0, -1.5]) / np.linalg.norm([1.0, 2.0, -1.5])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(0.2) * cross + (1 - np.cos(0.2)) * cross @ cross
