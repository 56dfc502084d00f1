"""Distances to the nearest voxel against scipy's distance transform."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from regbench.metrics.surfaces import distance
from regbench.metrics.surfaces.distance import squared_distances


@pytest.mark.parametrize("shape", [(9, 11, 10), (1, 7, 7), (7, 1, 7), (7, 7, 1), (1, 1, 1), (190, 3, 4), (3, 4, 190)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.7, 3.15), (0.4, 5.0, 1.0)])
@pytest.mark.parametrize("most_visits", [0, 64])
def test_equal_to_scipy(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    most_visits: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distance, "MOST_VISITS", most_visits)
    random = np.random.default_rng(0)
    for share in (0.5, 0.02):
        targets = random.random(shape) < share
        targets.flat[random.integers(targets.size)] = True
        squared = squared_distances(np.arange(targets.size), targets, np.array(spacing), np.max)
        official = distance_transform_edt(~targets, sampling=spacing).ravel()
        np.testing.assert_allclose(np.sqrt(squared, dtype=np.float64), official, rtol=1e-15)


def test_whole_numbers_at_spacing_one() -> None:
    targets = np.zeros((5, 6, 7), bool)
    targets[0, 0, 0] = True
    squared = squared_distances(np.arange(targets.size), targets, np.ones(3), np.max)
    assert squared.dtype == np.uint16
    assert squared[-1] == 4**2 + 5**2 + 6**2


def test_distances_too_long_for_sixteen_bits() -> None:
    targets = np.zeros((300, 2, 200), bool)
    targets[0, 0, 0] = True
    squared = squared_distances(np.array([targets.size - 1, 5]), targets, np.ones(3), np.max)
    assert squared.tolist() == [299**2 + 1 + 199**2, 25]


def test_only_what_is_needed_has_to_be_right() -> None:
    targets = np.zeros((1, 64, 1), bool)
    targets[0, 0, 0] = True
    asked: list[float] = []

    def shortest(found: np.ndarray) -> float:
        asked.append(float(found.min()))
        return asked[-1]

    squared = squared_distances(np.array([2, 60]), targets, np.ones(3), shortest)
    assert squared[0] == 4
    assert squared[1] >= 60**2
    assert len(asked) == 2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.7, 3.15)])
def test_far_apart_it_takes_no_more_visits_than_a_transform_is_worth(
    spacing: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = np.zeros((40, 50, 60), bool)
    targets[-1, -1, -1] = True
    points = np.arange(targets.size // 2)
    visits = []

    def visit(lines, places, best) -> None:
        visits.append(len(lines.offsets) * len(best))
        plain(lines, places, best)

    plain = distance._visit
    monkeypatch.setattr(distance, "_visit", visit)
    squared = squared_distances(points, targets, np.array(spacing), np.max)
    official = distance_transform_edt(~targets, sampling=spacing).ravel()[points]
    np.testing.assert_allclose(np.sqrt(squared, dtype=np.float64), official, rtol=1e-15)
    assert sum(visits) <= 2 * 64 * targets.size
