"""The non-diffeomorphic volume against tetrahedra written out corner by corner."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics import folding_percent, non_diffeomorphic_volume_percent

CENTRAL = {
    1: ((0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)),
    -1: ((0, 0, 0), (-1, -1, 0), (0, -1, -1), (-1, 0, -1)),
}


def _tetrahedra() -> list[tuple[tuple[int, int, int], ...]]:
    """The ten tetrahedra of a voxel, as steps from it to their corners."""
    corners = [((0, 0, 0), (a, 0, 0), (0, b, 0), (0, 0, c)) for a, b, c in itertools.product((1, -1), repeat=3)]
    return [*corners, *CENTRAL.values()]


def _signed_volume(corners: np.ndarray) -> float:
    return float(np.linalg.det(corners[1:] - corners[0])) / 6


def _plain(u: np.ndarray) -> float:
    """Each tetrahedron's share that is turned inside out, relative to how it lies where u is zero."""
    shape = u.shape[1:]
    folded = 0.0
    for voxel in itertools.product(*(range(1, n - 1) for n in shape)):
        for steps in _tetrahedra():
            index = np.array(voxel) + np.array(steps)
            moved = index + u[:, index[:, 0], index[:, 1], index[:, 2]].T
            turn = np.sign(_signed_volume(index.astype(float)))
            folded += max(0.0, -turn * _signed_volume(moved)) / 2
    return 100 * folded / math.prod(n - 2 for n in shape)


def _rough(scale: float) -> Tensor:
    return scale * torch.randn(3, 12, 6, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_the_ten_tetrahedra_of_a_voxel_fill_one_voxel_twice() -> None:
    volumes = [abs(_signed_volume(np.array(steps, float))) for steps in _tetrahedra()]
    assert sum(volumes) / 2 == pytest.approx(1)


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.5])
def test_equal_to_tetrahedra_written_out(scale: float) -> None:
    u = _rough(scale)
    expected = _plain(u.numpy())
    assert expected > 0
    assert non_diffeomorphic_volume_percent(u) == pytest.approx(expected, rel=1e-12)
    assert non_diffeomorphic_volume_percent(u.float()) == pytest.approx(expected, rel=1e-5)


def test_shifts_and_the_identity_fold_nothing() -> None:
    u = torch.zeros(3, 5, 6, 7)
    assert non_diffeomorphic_volume_percent(u) == 0
    u[1] = 40
    assert non_diffeomorphic_volume_percent(u) == 0


def test_a_mirrored_field_folds_all() -> None:
    u = torch.zeros(3, 6, 7, 8)
    u[2] = -2 * torch.arange(8.0)
    assert non_diffeomorphic_volume_percent(u) == pytest.approx(100, rel=1e-6)


def test_it_sees_what_central_differences_do_not() -> None:
    u = torch.zeros(3, 9, 9, 9)
    u[0, 4, 4, 4] = 1.5
    assert folding_percent(u) == 0
    assert non_diffeomorphic_volume_percent(u) > 0.05


def test_fields_that_are_not_finite_or_too_small_are_refused() -> None:
    u = torch.zeros(3, 5, 5, 5)
    u[0, 2, 2, 2] = math.nan
    with pytest.raises(BadValueError, match="NaN or infinite"):
        non_diffeomorphic_volume_percent(u)
    with pytest.raises(BadValueError, match="3 voxels"):
        non_diffeomorphic_volume_percent(torch.zeros(3, 5, 2, 5))
