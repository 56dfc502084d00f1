"""Curves: the course of the trainings, and the pairs from the worst to the best."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from regbench.leaderboard import PRIMARY, Board
from regbench.report.plots.drawing import figure, tidy, to_svg
from regbench.report.plots.looks import Look
from regbench.results import RunFolder

_WINDOW_SHARE = 0.05
_FEW = 40


def read_course(path: Path) -> Mapping[str, Float[np.ndarray, " steps"]]:
    """Column → values of a history.csv, NaN where it is empty; empty where the file cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file)
        table = np.array([[float(cell) if cell else np.nan for cell in line] for line in lines], dtype=np.float64)
    except (OSError, ValueError, csv.Error):
        return {}
    return dict(zip(header, table.T, strict=True)) if table.ndim == 2 else {}


def running_mean(values: Float[np.ndarray, " n"], width: int) -> Float[np.ndarray, " n"]:
    """The mean of the last `width` values, of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    mean: Float[np.ndarray, " n"] = (total[last] - total[first]) / (last - first)
    return mean


def training(board: Board, looks: Sequence[Look], folders: Mapping[str, RunFolder], name: str) -> list[tuple[str, str]]:
    """Title and SVG of each panel: validation score and total loss against the step, one line a seed."""
    courses = [
        (look, read_course(folders[run.run_id].history))
        for row, look in zip(board.rows, looks, strict=True)
        for run in row.runs
        if run.run_id in folders and run.training
    ]
    panels = (("Validation DSC [%]", "validation", "Mean DSC of the validation pairs"), ("Total loss", "total", "Loss"))
    return [
        (title, drawn)
        for n, (title, column, words) in enumerate(panels)
        if (drawn := _course(courses, column, title, words, f"{name}-{n}"))
    ]


def _course(
    courses: Sequence[tuple[Look, Mapping[str, Float[np.ndarray, " steps"]]]],
    column: str,
    title: str,
    words: str,
    name: str,
) -> str | None:
    made = figure(height_in=2.6)
    axes = made.add_subplot()
    drawn = 0
    for look, course in courses:
        if column not in course or "step" not in course:
            continue
        known = np.isfinite(course[column])
        steps, values = course["step"][known], course[column][known]
        if len(values) < 2:
            continue
        if column == "total":
            values = running_mean(values, max(1, round(len(values) * _WINDOW_SHARE)))
        axes.plot(
            steps, values, color=look.colour, linestyle=look.dashes, linewidth=1.1, alpha=0.9, markersize=2.5,
            marker=look.marker if len(values) < _FEW else "", markerfacecolor="white",
        )  # fmt: skip
        drawn += 1
    if not drawn:
        return None
    axes.set_xlabel("training step", fontsize=7.5)
    axes.set_ylabel(title, fontsize=7.5)
    tidy(axes)
    return to_svg(made, name, f"{words} against the training step, {drawn} trainings.")


def pairs_in_order(board: Board, looks: Sequence[Look], name: str) -> str | None:
    """Each row's pairs from the worst to the best; None without DSC."""
    rows = [(np.sort(row.per_pair(PRIMARY)), look) for row, look in zip(board.rows, looks, strict=True)
            if PRIMARY in row.values]  # fmt: skip
    rows = [(values[np.isfinite(values)], look) for values, look in rows if np.isfinite(values).any()]
    if not rows:
        return None
    made = figure(height_in=2.8)
    axes = made.add_subplot()
    for values, look in rows:
        share = np.linspace(0, 100, len(values) + 1)
        axes.step([values[0], *values], share, where="post", color=look.colour, linestyle=look.dashes, linewidth=1.1)
    axes.set_xlabel("mean DSC of a pair [%]", fontsize=7.5)
    axes.set_ylabel("pairs at or below [%]", fontsize=7.5)
    axes.set_ylim(0, 101)
    tidy(axes)
    return to_svg(made, name, "Share of the test pairs at or below a mean DSC, one line a row of the board.")
