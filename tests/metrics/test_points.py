"""Landmark errors and inverse consistency in closed form."""

import math

import pytest
import torch
from torch import Tensor

from regbench.api import Landmarks
from regbench.errors import BadValueError
from regbench.metrics import inverse_consistency_mm, landmark_errors_mm, tre_mm

SHAPE = (8, 9, 10)
SPACING = (1.5, 2.0, 4.0)


def _constant(*steps: float) -> Tensor:
    return torch.tensor(steps, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *SHAPE).clone()


def _landmarks(fixed: list[list[float]], moving: list[list[float]]) -> Landmarks:
    return Landmarks(torch.tensor(fixed), torch.tensor(moving))


def test_a_field_that_takes_landmarks_where_they_belong() -> None:
    points = [[1.0, 2.0, 3.0], [4.5, 0.25, 7.0]]
    moved = [[x + 1, y - 0.5, z + 2] for x, y, z in points]
    assert tre_mm(_constant(1, -0.5, 2), _landmarks(points, moved), SPACING) == pytest.approx(0, abs=1e-6)


def test_the_error_is_measured_along_each_axis_in_its_own_millimetres() -> None:
    landmarks = _landmarks([[2.0, 2.0, 2.0]] * 3, [[3.0, 2.0, 2.0], [2.0, 3.0, 2.0], [1.0, 0.0, 1.0]])
    errors = landmark_errors_mm(_constant(0, 0, 0), landmarks, SPACING)
    assert errors.tolist() == pytest.approx([1.5, 2.0, math.sqrt(1.5**2 + 4**2 + 4**2)])
    assert tre_mm(_constant(0, 0, 0), landmarks, SPACING) == pytest.approx(float(errors.mean()))


def test_between_voxels_the_field_is_trilinear() -> None:
    i, j, k = torch.meshgrid(*(torch.arange(float(n)) for n in SHAPE), indexing="ij")
    u = torch.stack([0.3 * i * j, 0.1 * j * k, 0.2 * i * k])
    x, y, z = 2.4, 3.7, 5.1
    belongs = [x + 0.3 * x * y, y + 0.1 * y * z, z + 0.2 * x * z]
    assert tre_mm(u, _landmarks([[x, y, z]], [belongs]), SPACING) == pytest.approx(0, abs=1e-5)


def test_landmarks_outside_the_field_are_left_out() -> None:
    landmarks = _landmarks([[0.0, 0.0, 9.0], [7.1, 0.0, 0.0], [0.0, -0.1, 0.0]], [[0.0, 0.0, 8.0]] * 3)
    assert landmark_errors_mm(_constant(0, 0, 0), landmarks, SPACING).tolist() == [4.0]
    outside = _landmarks([[20.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]])
    assert len(landmark_errors_mm(_constant(0, 0, 0), outside, SPACING)) == 0
    with pytest.raises(BadValueError, match="None of the 1 landmarks"):
        tre_mm(_constant(0, 0, 0), outside, SPACING)


def test_opposite_shifts_are_consistent_and_others_are_not() -> None:
    there, back = _constant(-1, 2, 0), _constant(1, -2, 0)
    assert inverse_consistency_mm(back, there, SPACING) == 0
    wrong = _constant(1, -2, 0.5)
    assert inverse_consistency_mm(wrong, there, SPACING) == pytest.approx(2.0)
    assert inverse_consistency_mm(_constant(0, 0, 0), there, SPACING) == pytest.approx(math.hypot(1.5, 4.0))


def test_only_voxels_that_stay_inside_count() -> None:
    assert inverse_consistency_mm(_constant(-7, 0, 0), _constant(7, 0, 0), SPACING) == 0
    assert math.isinf(inverse_consistency_mm(_constant(-8, 0, 0), _constant(8, 0, 0), SPACING))


def test_fields_on_two_grids() -> None:
    u, v = _constant(0, -1, 0), torch.zeros(3, 5, 6, 7)
    v[1] = 1
    assert inverse_consistency_mm(u, v, SPACING) == 0


def test_fields_that_are_not_finite_are_refused() -> None:
    bad = _constant(0, 0, 0)
    bad[0, 0, 0, 0] = math.inf
    for pair in ((bad, _constant(0, 0, 0)), (_constant(0, 0, 0), bad)):
        with pytest.raises(BadValueError, match="NaN or infinite"):
            inverse_consistency_mm(*pair, SPACING)
