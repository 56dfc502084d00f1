"""Box plots: how a metric spreads over the pairs, one panel a structure."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from regbench.leaderboard import PRIMARY, Board
from regbench.leaderboard.measured import mean_over
from regbench.report.plots.drawing import figure, tidy, to_svg
from regbench.report.plots.looks import Look

_ROW_IN = 0.17


def boxes(board: Board, looks: Sequence[Look], name: str) -> Iterator[tuple[str, str]]:
    """Title and SVG of each panel: the mean over structures first, then each structure."""
    if PRIMARY not in board.metrics:
        return
    yield (
        "Mean of all structures",
        _panel(board, looks, [_means(board, n) for n in range(len(board.rows))], f"{name}-0"),
    )
    for place, structure in enumerate(board.protocol.labels.values(), 1):
        values = [_column(board, n, place - 1) for n in range(len(board.rows))]
        if any(len(found) for found in values):
            yield structure.capitalize(), _panel(board, looks, values, f"{name}-{place}")


def _panel(board: Board, looks: Sequence[Look], values: list[Float[np.ndarray, " _"]], name: str) -> str:
    metric = board.metrics[PRIMARY]
    made = figure(height_in=0.55 + _ROW_IN * len(board.rows))
    axes = made.add_subplot()
    places = np.arange(len(board.rows))[::-1]
    drawn = axes.boxplot(
        values, positions=places, orientation="horizontal", widths=0.62, patch_artist=True, manage_ticks=False,
        flierprops={"marker": ".", "markersize": 3, "markeredgewidth": 0, "markerfacecolor": "#555555"},
        medianprops={"color": "black", "linewidth": 1.1}, whiskerprops={"linewidth": 0.7, "color": "#555555"},
        capprops={"linewidth": 0.7, "color": "#555555"}, boxprops={"linewidth": 0.7},
    )  # fmt: skip
    for box, look in zip(drawn["boxes"], looks, strict=True):
        box.set_facecolor(_pale(look.colour) if look.is_first else (1, 1, 1, 0))
        box.set_edgecolor(look.colour)
    for place, found, look in zip(places, values, looks, strict=True):
        if len(found):
            axes.plot(found.mean(), place, look.marker, markersize=3.2, color=look.colour, markeredgewidth=0.8)
    axes.set_yticks(places, [row.name for row in board.rows], fontsize=6.5)
    axes.set_ylim(-0.7, len(board.rows) - 0.3)
    axes.set_xlabel(f"DSC [{metric.unit}]", fontsize=7)
    tidy(axes, grid="x")
    return to_svg(made, name, "Box plots of DSC over the test pairs, one box a row of the board.")


def _pale(colour: str) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue, 0.35


def _means(board: Board, place: int) -> Float[np.ndarray, " _"]:
    row = board.rows[place]
    return _finite(row.per_pair(PRIMARY)) if PRIMARY in row.values else np.array([])


def _column(board: Board, place: int, label: int) -> Float[np.ndarray, " _"]:
    row = board.rows[place]
    return _finite(mean_over(row.values[PRIMARY], axis=0)[:, label]) if PRIMARY in row.values else np.array([])


def _finite(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " _"]:
    kept: Float[np.ndarray, " _"] = values[np.isfinite(values)]
    return kept
