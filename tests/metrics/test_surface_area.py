"""The marching-cubes areas against closed forms and their symmetries."""

import itertools
import math

import numpy as np
import pytest
from monai.metrics.utils import create_table_neighbour_code_to_surface_area

from regbench.errors import BadValueError
from regbench.metrics.surfaces.area import surface_areas

CORNER, CUT = math.sqrt(3) / 8, math.sqrt(2) / 2  # around one corner; a plane parallel to one axis, along a diagonal

CLOSED_FORMS = {
    0b00000000: 0.0,
    0b00000001: CORNER,
    0b00000011: CUT,
    0b00000110: 2 * CORNER,
    0b00011000: 2 * CORNER,
    0b00000111: 0.5 + 3 * CORNER,
    0b00010110: 3 * CORNER,
    0b00011001: CUT + CORNER,
    0b00001111: 1.0,
    0b00010111: 6 * CORNER,
    0b00011011: CUT + 4 * CORNER,
    0b00011110: 0.5 + 4 * CORNER,
    0b00111100: 2 * CUT,
    0b01101001: 4 * CORNER,
}


def _codes() -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=8))


def _number(inside: np.ndarray) -> int:
    return int((inside.ravel() * 2 ** np.arange(8)).sum())


@pytest.mark.parametrize(("code", "area"), CLOSED_FORMS.items())
def test_the_fourteen_kinds_of_cells(code: int, area: float) -> None:
    assert surface_areas((1, 1, 1))[code] == pytest.approx(area, rel=1e-14)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.5, 1.5, 3.15), (0.7, 1.3, 5.0), (3, 1, 2)])
def test_equal_to_the_reference_table_that_monai_holds(spacing: tuple[float, float, float]) -> None:
    reference = np.asarray(create_table_neighbour_code_to_surface_area(spacing, "cpu")[0]).ravel()
    np.testing.assert_allclose(surface_areas(spacing), reference, rtol=1e-6)  # MONAI keeps it in float32


def test_inside_and_outside_have_one_surface() -> None:
    areas = surface_areas((1.5, 0.8, 3.0))
    np.testing.assert_allclose(areas, areas[::-1], rtol=1e-14)
    assert (areas[1:-1] > 0).all()


def test_a_cell_turned_or_mirrored_has_the_same_surface() -> None:
    spacing = (1.5, 0.8, 3.0)
    areas = surface_areas(spacing)
    for bits in _codes():
        cell = np.array(bits).reshape(2, 2, 2)
        for axes in itertools.permutations(range(3)):
            turned = surface_areas([spacing[axis] for axis in axes])
            for flips in ((), (0,), (1, 2)):
                assert turned[_number(np.flip(cell.transpose(axes), flips))] == pytest.approx(areas[_number(cell)])


def test_planes_have_their_own_area_at_any_spacing() -> None:
    i, j, k = spacing = (0.7, 1.9, 5.0)
    areas = surface_areas(spacing)
    assert areas[0b11110000] == pytest.approx(j * k)
    assert areas[0b11001100] == pytest.approx(i * k)
    assert areas[0b10101010] == pytest.approx(i * j)
    assert areas[0b00000011] == pytest.approx(k * math.hypot(i, j) / 2)
    assert areas[0b10000000] == pytest.approx(math.sqrt((j * k) ** 2 + (i * k) ** 2 + (i * j) ** 2) / 8)


def test_a_ball_has_about_the_area_of_a_ball() -> None:
    index = np.indices((48, 48, 48)) - 23.5
    ball = (np.sqrt((index**2).sum(0)) < 20).astype(int)
    codes = sum(
        np.roll(ball, (-a, -b, -c), (0, 1, 2)) << (4 * a + 2 * b + c) for a, b, c in itertools.product((0, 1), repeat=3)
    )
    assert surface_areas((1, 1, 1))[codes].sum() == pytest.approx(4 * math.pi * 20**2, rel=0.1)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, 1, math.nan), (1, 1, -2)])
def test_an_impossible_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(BadValueError, match="three positive numbers"):
        surface_areas(spacing)
