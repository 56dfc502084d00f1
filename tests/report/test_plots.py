"""The plots: what they are drawn from, and that they are sound SVG."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regbench.leaderboard import Board, ranks
from regbench.report.plots.boxes import boxes
from regbench.report.plots.curves import pairs_in_order, read_course, running_mean, training
from regbench.report.plots.differences import critical_difference, intervals
from regbench.report.plots.drawing import figure, to_svg
from regbench.report.plots.looks import Look, looks
from regbench.report.plots.scatter import Point, against_folding, against_seconds, front
from regbench.report.tables import table

SVG = "{http://www.w3.org/2000/svg}"
LOOK = Look("#000000", "o", "solid", is_first=True)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made here


def words(svg: str) -> list[str]:
    return [part.text or "" for part in parsed(svg).iter(f"{SVG}text")]


def test_a_figure_is_one_element_with_ids_of_its_own_and_no_date() -> None:
    made = figure()
    made.add_subplot().plot([0, 1], [0, 1])
    svg = to_svg(made, "name", 'A "line" & more')
    root = parsed(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == 'A "line" & more'
    assert root.get("width") is None
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("name-") for name in ids)
    assert "metadata" not in svg
    assert not re.search(r"20\d\d-\d\d", svg)


def test_the_front_by_definition() -> None:
    random = np.random.default_rng(1)
    points = [
        Point(str(n), float(price), float(value), bool(n % 5), LOOK)
        for n, (price, value) in enumerate(zip(random.integers(0, 12, 40), random.integers(0, 12, 40), strict=True))
    ]
    competing = [p for p in points if p.competes]

    def beaten(point: Point) -> bool:
        return any(
            q.price <= point.price and q.value >= point.value and (q.price, q.value) != (point.price, point.value)
            for q in competing
        )

    expected = {(p.price, p.value) for p in competing if not beaten(p)}
    assert {(p.price, p.value) for p in front(points)} == expected
    assert [p.price for p in front(points)] == sorted(p.price for p in front(points))


def test_price_plots_name_every_row_and_say_the_front(board: Board) -> None:
    seconds = against_seconds(board, looks(board.rows), "a")
    assert {"Good", "Good + files", "Fair <b>&</b>", "Poor"} <= set(words(seconds))
    assert "Initial" not in words(seconds)
    assert parsed(seconds).get("aria-label").endswith("On the Pareto front: Fair <b>&</b>, Good + files.")
    folding = against_folding(board, looks(board.rows), "b")
    assert parsed(folding).get("aria-label").endswith("On the Pareto front: Fair <b>&</b>, Good, Good + files.")
    assert "Initial" in words(folding)


def test_box_plots_of_the_mean_and_of_each_structure(board: Board) -> None:
    panels = list(boxes(board, looks(board.rows), "c"))
    assert [title for title, _ in panels] == ["Mean of all structures", "North", "South", "Middle"]
    for _, svg in panels:
        assert {row.name for row in board.rows} <= set(words(svg))


def test_the_critical_difference_diagram_names_ranks_and_groups(board: Board) -> None:
    found = ranks(board)
    svg = critical_difference(found, board, looks(board.rows), "d")
    for row, rank in zip(found.rows, found.average, strict=True):
        assert any(row.name in text and f"{rank:.2f}" in text for text in words(svg))
    assert "Not told apart" in parsed(svg).get("aria-label")
    assert {row.name for row in board.rows} <= set(words(intervals(board, looks(board.rows), "e")))
    assert pairs_in_order(board, looks(board.rows), "f")


def test_training_curves_need_a_history(board: Board, folders) -> None:
    panels = training(board, looks(board.rows), folders, "g")
    assert [title for title, _ in panels] == ["Validation DSC [%]", "Total loss"]
    assert "4 trainings" in parsed(panels[0][1]).get("aria-label")
    assert training(board, looks(board.rows), {}, "g") == []


def test_histories_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    assert read_course(tmp_path / "none.csv") == {}
    (tmp_path / "bad.csv").write_text("step,total\n1,x\n")
    assert read_course(tmp_path / "bad.csv") == {}
    (tmp_path / "good.csv").write_text("step,total\n1,0.5\n2,\n")
    np.testing.assert_array_equal(read_course(tmp_path / "good.csv")["total"], [0.5, np.nan])


def test_the_running_mean_by_definition() -> None:
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, n - 4) : n + 1].mean() for n in range(20)]
    np.testing.assert_allclose(running_mean(values, 5), expected)


@pytest.mark.parametrize(("better", "expected"), [(None, [0.0, 1.0, None]), ("lower", [None] * 3)])
def test_tints_run_from_the_worst_to_the_best(better: str | None, expected: list[float | None]) -> None:
    from regbench.leaderboard.views.sheet import Cell, Head, sheet

    made = sheet("t", [(Head("x", "", better), [Cell("1.0 ± 0.2"), Cell("3.0"), Cell("–")])], [])
    assert [row[0].tint for row in table(made, tinted=True).rows] == expected
    assert [row[0].tint for row in table(made).rows] == [None] * 3
    assert [row[0].key for row in table(made).rows] == ["1.0", "3.0", ""]


def test_no_name_lies_on_another_or_far_from_its_point() -> None:
    from regbench.report.plots.scatter import _LINE_SHARE, _free

    random = np.random.default_rng(0)
    points = [*random.uniform(size=(12, 2)), *(0.5 + random.normal(0, 0.01, (12, 2)))]
    taken = [(x - 0.02, 0.04, y) for x, y in points]
    markers = len(taken)
    for x, y in points:
        spot = _free(x, y, 0.3, taken)
        if spot is not None:
            assert abs(spot[1] - y) <= 2 * _LINE_SHARE
            assert min(abs(spot[0] - x), abs(spot[0] + 0.3 - x)) <= 0.05
            taken.append((spot[0], 0.3, spot[1]))
    assert 8 <= len(taken) - markers < 24
    for (n, a), (m, b) in product(enumerate(taken), enumerate(taken[markers:], markers)):
        assert n == m or abs(a[2] - b[2]) >= _LINE_SHARE or a[0] + a[1] < b[0] or b[0] + b[1] < a[0]


def test_rows_look_different_without_colours(board: Board) -> None:
    drawn = [look for row, look in zip(board.rows, looks(board.rows), strict=True) if not row.is_initial]
    assert len({look.colour for look in drawn}) == 3
    first = [look.marker for look in drawn if look.is_first]
    assert len(set(first)) == len(first) == 3


def test_folding_near_0_is_told_apart_beside_a_row_that_folds_much(board: Board) -> None:
    """A linear axis would lay rows with 0, 0.02 and 0.1 % on one another beside one with 20 %."""
    rows = [replace(row, values=row.values | {"folding": np.full_like(row.values["folding"], share)})
            for row, share in zip(board.rows, (0.0, 0.02, 0.1, 1.0, 20.0), strict=True)]  # fmt: skip
    svg = against_folding(replace(board, rows=tuple(rows)), looks(rows), "b")
    assert {"0", "0.01", "0.1", "1", "10"} <= set(words(svg))


@pytest.fixture
def axes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Axes]:
    """Draws a plot as far as its axes."""

    def draw(plot: Callable[..., object], *given: object) -> Axes:
        made: list[Figure] = []
        monkeypatch.setattr(f"{plot.__module__}.to_svg", lambda figure, *_: made.append(figure) or "")
        plot(*given, "a")
        made[0].draw_without_rendering()
        return made[0].axes[0]

    return draw


def test_without_any_folding_the_axis_begins_at_0(board: Board, axes_of: Callable[..., Axes]) -> None:
    rows = [replace(row, values=row.values | {"folding": np.zeros_like(row.values["folding"])}) for row in board.rows]
    axes = axes_of(against_folding, replace(board, rows=tuple(rows)), looks(rows))
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0, 0.01]


def test_long_names_cut_nothing_off(board: Board, axes_of: Callable[..., Axes]) -> None:
    rows = [replace(row, name=f"{row.name}: a method, as released, and refined") for row in board.rows]
    axes = axes_of(intervals, replace(board, rows=tuple(rows)), looks(rows))
    label, whole = axes.xaxis.label.get_window_extent(), axes.figure.bbox
    assert whole.x0 <= label.x0
    assert label.x1 <= whole.x1


def test_the_numbers_of_many_ranks_do_not_meet(board: Board, axes_of: Callable[..., Axes]) -> None:
    rows = [replace(row, name=f"{row.name} {n}") for n in range(6) for row in board.rows if not row.is_initial]
    crowded = replace(board, rows=tuple(rows))
    axes = axes_of(critical_difference, ranks(crowded), crowded, looks(rows))
    numbers = [text.get_window_extent() for text in axes.texts if text.get_text().isdigit()]
    assert len(numbers) > 2
    assert all(left.x1 < right.x0 for left, right in pairwise(numbers))


def test_the_share_of_pairs_rises_from_none_to_all(board: Board, axes_of: Callable[..., Axes]) -> None:
    axes = axes_of(pairs_in_order, board, looks(board.rows))
    for row, line in zip(board.rows, axes.lines, strict=True):
        worst = row.per_pair("dsc").min()
        assert list(zip(*line.get_data(), strict=True))[:2] == [(worst, 0), (worst, pytest.approx(100 / 6))]
        assert line.get_ydata()[-1] == 100


def test_names_begin_or_end_at_their_points(board: Board, axes_of: Callable[..., Axes]) -> None:
    axes = axes_of(against_seconds, board, looks(board.rows))
    seconds = {row.name: (row.record.cost.seconds_per_pair, row.mean("dsc")) for row in board.rows}
    sides = set()
    for text in axes.texts:
        x, _ = (axes.transData + axes.transAxes.inverted()).transform(seconds[text.get_text()])
        side = {"left": 1, "right": -1}[text.get_ha()]
        assert text.get_position()[0] - x == pytest.approx(0.03 * side)
        sides.add(side)
    assert sides == {1, -1}
