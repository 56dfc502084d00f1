"""Accuracy against its price: seconds, folding; with the rows that no other beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from regbench.leaderboard import PRIMARY, Board
from regbench.leaderboard.sheets import mean_cost
from regbench.report.drawing import WIDTH_IN, figure, tidy, to_svg
from regbench.report.looks import Look

_LETTER_IN = 0.055
_LINE_SHARE = 0.042


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
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
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
    _write_names(axes, points, best, logarithmic=logarithmic)
    on_front = ", ".join(point.name for point in best)
    return to_svg(made, name, f"Mean DSC against {price}. On the Pareto front: {on_front or 'no row'}.")


def _draw_front(axes: Axes, best: Sequence[Point]) -> None:
    prices, values = [point.price for point in best], [point.value for point in best]
    axes.step(prices, values, where="post", color="#444444", linewidth=1, linestyle=(0, (4, 2)), zorder=2)


def _write_names(axes: Axes, points: Sequence[Point], best: Sequence[Point], *, logarithmic: bool) -> None:
    """Names beside the points, left of those in the right half, pushed apart where they would overlap."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()

    def across(price: float) -> float:
        if logarithmic:
            return float(np.log(price / left) / np.log(right / left))
        return (price - left) / (right - left)

    # No name may lie on a marker, either.
    taken = [(across(p.price) - 0.02, 0.04, (p.value - bottom) / (top - bottom)) for p in points]
    for point in sorted(points, key=lambda p: (p not in best, -p.value)):
        x, y = across(point.price), (point.value - bottom) / (top - bottom)
        width = len(point.name) * _LETTER_IN / (WIDTH_IN * 0.85)
        to_left = x + 0.03 + width > 1.0
        start = x - 0.03 - width if to_left else x + 0.03
        height = _free(start, width, y, taken)
        taken.append((start, width, height))
        axes.annotate(
            point.name, xy=(point.price, point.value), xytext=(x - 0.03 if to_left else x + 0.03, height),
            textcoords="axes fraction", fontsize=6.5, ha="right" if to_left else "left", va="center",
            fontweight="bold" if point in best else "normal", color="#222222" if point.competes else "#666666",
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            if abs(height - y) > _LINE_SHARE else None,
        )  # fmt: skip


def _free(start: float, width: float, wanted: float, taken: Sequence[tuple[float, float, float]]) -> float:
    """The height nearest to the wanted one at which a name meets no other."""
    steps = sorted((sign * n * _LINE_SHARE / 2 for n in range(60) for sign in (1, -1)), key=abs)
    for step in steps:
        height = wanted + step
        clear = all(
            abs(height - other) >= _LINE_SHARE or start + width < begin or begin + length < start
            for begin, length, other in taken
        )
        if clear and -0.02 <= height <= 1.05:
            return height
    return wanted
