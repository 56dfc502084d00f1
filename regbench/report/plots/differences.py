"""The critical-difference diagram, and the means with their intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from regbench.leaderboard import PRIMARY, Board
from regbench.leaderboard.statistics.ranks import Ranks
from regbench.leaderboard.views.comparison import compare
from regbench.report.plots.drawing import figure, tidy, to_svg
from regbench.report.plots.looks import Look

_WIDE_IN = 8.6
_LINE_IN = 0.2
_NUMBERS = 12


def critical_difference(found: Ranks, board: Board, looks: Sequence[Look], name: str) -> str:
    """The diagram of J. Demšar, JMLR 7, 2006: average ranks on a line, bars over rows that are not told apart."""
    by_name = {row.name: look for row, look in zip(board.rows, looks, strict=True)}
    count = len(found.rows)
    half = (count + 1) // 2
    bars = _levels(found.cliques)
    depth = max(bars, default=-1) + 1
    height = 0.45 + 0.1 * depth + _LINE_IN * (half + 0.6)
    made = figure(_WIDE_IN, height)
    axes = made.add_subplot()
    axes.set_axis_off()
    low, high = 1.0, float(count)
    axes.set_xlim(low - (high - low) * 0.42, high + (high - low) * 0.42)
    axes.set_ylim(-(0.1 * depth + _LINE_IN * (half + 0.6)), 0.4)
    _scale(axes, count)
    for place, (first, last) in enumerate(found.cliques):
        y = -0.09 - 0.1 * bars[place]
        pad = (high - low) * 0.008
        axes.plot([found.average[first] - pad, found.average[last] + pad], [y, y], color="#333333", linewidth=3.2,
                  solid_capstyle="round")  # fmt: skip
    for place, (row, rank) in enumerate(zip(found.rows, found.average, strict=True)):
        look, on_left = by_name[row.name], place < half
        turn = place if on_left else count - 1 - place
        y = -(0.1 * depth + _LINE_IN * (turn + 0.9))
        end = low - (high - low) * 0.02 if on_left else high + (high - low) * 0.02
        axes.plot([rank, rank, end], [0, y, y], color=look.colour, linewidth=0.9, linestyle=look.dashes)
        axes.plot(rank, 0, look.marker, color=look.colour, markersize=4.5, zorder=3)
        text = f"{row.name}  {rank:.2f}" if on_left else f"{rank:.2f}  {row.name}"
        pad = -1 if on_left else 1
        axes.text(end + pad * (high - low) * 0.008, y, text, fontsize=8, ha="right" if on_left else "left", va="center")
    groups = "; ".join(" and ".join(row.name for row in found.rows[a : b + 1]) for a, b in found.cliques)
    return to_svg(made, name, f"Critical-difference diagram. Not told apart: {groups or 'none'}.")


def _scale(axes: Axes, count: int) -> None:
    """Every rank has its tick; of many ranks, the first and every fifth have a number."""
    axes.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        is_said = count <= _NUMBERS or rank == 1 or rank % 5 == 0
        axes.plot([rank, rank], [0, 0.07 if is_said else 0.04], color="black", linewidth=1)
        if is_said:
            axes.text(rank, 0.1, str(rank), fontsize=7.5, ha="center", va="bottom")
    axes.text(1 - (count - 1) * 0.02, 0.1, "best", fontsize=7.5, ha="right", va="bottom", color="#555555")


def _levels(cliques: Sequence[tuple[int, int]]) -> list[int]:
    """On which line each bar is drawn, so that none lies on another."""
    ends: list[int] = []
    levels = []
    for first, last in cliques:
        level = next((n for n, end in enumerate(ends) if end < first), len(ends))
        ends[level : level + 1] = [last]
        levels.append(level)
    return levels


def intervals(board: Board, looks: Sequence[Look], name: str) -> str | None:
    """Each row's mean DSC with its 95 % interval; None where there is none."""
    if PRIMARY not in board.metrics:
        return None
    results = compare(board)
    made = figure(height_in=0.6 + 0.19 * len(board.rows))
    axes = made.add_subplot()
    places = np.arange(len(board.rows))[::-1]
    for place, row, result, look in zip(places, board.rows, results, looks, strict=True):
        if PRIMARY not in row.values:
            continue
        mean, (low, high) = row.mean(PRIMARY), result.interval
        if np.isfinite(low):
            axes.plot([low, high], [place, place], color=look.colour, linewidth=1.4)
        axes.plot(mean, place, look.marker, color=look.colour, markersize=4.5)
    axes.set_yticks(places, [row.name for row in board.rows], fontsize=6.5)
    axes.set_ylim(-0.7, len(board.rows) - 0.3)
    axes.set_xlabel("mean DSC [%]", fontsize=7.5)
    tidy(axes, grid="x")
    return to_svg(made, name, "Mean DSC of each row with its 95 % interval, by a bootstrap of the patients.")
