"""Accuracy against its price: seconds, folding; with the rows that no other beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from regbench.leaderboard import PRIMARY, Board
from regbench.leaderboard.views.numbers import mean_cost
from regbench.report.plots.drawing import WIDTH_IN, figure, tidy, to_svg
from regbench.report.plots.looks import Look

_LETTER_IN = 0.055
_LINE_SHARE = 0.042
_MARKER_SHARE = 0.04
_GAP_SHARE = 0.03
# Below this share of folded voxels, in percent, the axis is linear: most rows lie at or near 0.
_FEW_FOLDED = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the plane.

    Attributes:
        name: of the row.
        price: the lower, the better.
        value: the higher, the better.
        competes: whether it may lie on the front.
        look: how it is drawn.
    """

    name: str
    price: float
    value: float
    competes: bool
    look: Look


def front(points: Sequence[Point]) -> list[Point]:
    """The competing points that no other competing one beats in one and equals or beats in the other; by price."""
    best: list[Point] = []
    for point in sorted((p for p in points if p.competes), key=lambda p: (p.price, -p.value)):
        if not best or point.value > best[-1].value:
            best.append(point)
    return best


def against_seconds(board: Board, looks: Sequence[Look], name: str) -> str | None:
    """DSC against the seconds that a pair takes; None where fewer than two rows have both."""
    points = [
        Point(row.name, seconds, row.mean(PRIMARY), row.is_ranked, look)
        for row, look in zip(board.rows, looks, strict=True)
        if PRIMARY in row.values and (seconds := mean_cost(row, "seconds_per_pair")) and not row.is_initial
    ]
    return _plot(points, "seconds a pair (lower is better)", name, logarithmic=True)


def against_folding(board: Board, looks: Sequence[Look], name: str) -> str | None:
    """DSC against the share of folded voxels; None where fewer than two rows have both."""
    points = [
        Point(row.name, row.mean("folding"), row.mean(PRIMARY), row.is_ranked, look)
        for row, look in zip(board.rows, looks, strict=True)
        if PRIMARY in row.values and "folding" in row.values and np.isfinite(row.mean("folding"))
    ]
    return _plot(points, "folded voxels [%] (lower is better)", name, logarithmic=False)


def _plot(points: Sequence[Point], price: str, name: str, *, logarithmic: bool) -> str | None:
    points = [point for point in points if np.isfinite(point.value)]
    if len(points) < 2:
        return None
    made = figure(height_in=3.3)
    axes = made.add_subplot()
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xscale("symlog", linthresh=_FEW_FOLDED)
        axes.update_datalim([(0, points[0].value), (_FEW_FOLDED, points[0].value)])
    axes.xaxis.set_major_formatter("{x:g}")
    best = front(points)
    if best:
        _draw_front(axes, best)
    for point in points:
        face = point.look.colour if point in best else "white"
        axes.plot(point.price, point.value, point.look.marker, color=point.look.colour, markerfacecolor=face,
                  markersize=6, markeredgewidth=1.2, clip_on=False, zorder=5)  # fmt: skip
    axes.margins(x=0.1, y=0.1)
    tidy(axes)
    axes.set_xlabel(price, fontsize=7.5)
    axes.set_ylabel("mean DSC [%] (higher is better)", fontsize=7.5)
    _write_names(axes, points, best)
    on_front = ", ".join(point.name for point in best)
    return to_svg(made, name, f"Mean DSC against {price}. On the Pareto front: {on_front or 'no row'}.")


def _draw_front(axes: Axes, best: Sequence[Point]) -> None:
    prices, values = [point.price for point in best], [point.value for point in best]
    axes.step(prices, values, where="post", color="#444444", linewidth=1, linestyle=(0, (4, 2)), zorder=2)


def _write_names(axes: Axes, points: Sequence[Point], best: Sequence[Point]) -> None:
    """Names beside their points as far as there is room, those of the front first; the legend tells the others."""
    axes.autoscale_view()  # else matplotlib settles the limits only when it draws
    where = [_in_axes(axes, point) for point in points]
    # No name may lie on a marker, either.
    taken = [(x - _MARKER_SHARE / 2, _MARKER_SHARE, y) for x, y in where]
    for point, (x, y) in sorted(zip(points, where, strict=True), key=lambda p: (p[0] not in best, -p[0].value)):
        width = len(point.name) * _LETTER_IN / (WIDTH_IN * 0.85)
        spot = _free(x, y, width, taken)
        if spot is None:
            continue
        start, height = spot
        taken.append((start, width, height))
        on_right = start > x
        axes.text(
            start if on_right else start + width, height, point.name,
            transform=axes.transAxes, fontsize=6.5, ha="left" if on_right else "right",
            va="center", fontweight="bold" if point in best else "normal",
            color="#222222" if point.competes else "#666666", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
        )  # fmt: skip


def _in_axes(axes: Axes, point: Point) -> tuple[float, float]:
    """Where a point lies, as a share of the axes' width and height."""
    x, y = (axes.transData + axes.transAxes.inverted()).transform((point.price, point.value))
    return float(x), float(y)


def _free(x: float, y: float, width: float, taken: Sequence[tuple[float, float, float]]) -> tuple[float, float] | None:
    """Where a name beside (x, y) begins, and how high, so that it meets no other; None where there is no room."""
    for lift in (0, 1, -1, 1.6, -1.6):
        height = y + lift * _LINE_SHARE
        for start in (x + _GAP_SHARE, x - _GAP_SHARE - width):
            inside = start >= -0.02 and start + width <= 1.04 and -0.02 <= height <= 1.05
            if inside and all(
                abs(height - other) >= _LINE_SHARE or start + width < begin or begin + length < start
                for begin, length, other in taken
            ):
                return start, height
    return None
