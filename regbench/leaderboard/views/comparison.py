"""The sheet that tells chance from difference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.paired import holm, patient_interval, too_few, wilcoxon_p
from regbench.leaderboard.views.columns import NAME, metric_head, name_cells
from regbench.leaderboard.views.sheet import EMPTY, Cell, Head, Sheet, counted, number, sheet


@dataclass(frozen=True, slots=True)
class Compared:
    """A row's statistics.

    Attributes:
        interval: 95 % interval of its mean, by a bootstrap of patients.
        difference: its mean over pairs minus the best row's; NaN for the best row itself.
        difference_interval: 95 % interval of that, by the same bootstrap.
        p: Wilcoxon's signed-rank test against the best row, Holm-corrected; NaN where it was not tested.
    """

    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    p: float


def compare(board: Board, metric: str = PRIMARY) -> list[Compared]:
    """Every row against the best one, in the order of the board's rows.

    Rows that saw the truth are an upper bound and are not tested.
    """
    best = board.best(metric)
    tested = [row is not best and best is not None and not row.saw_test_labels and metric in row.values
              for row in board.rows]  # fmt: skip
    p_values = [
        wilcoxon_p(row.per_pair(metric), best.per_pair(metric)) if test and best else float("nan")
        for row, test in zip(board.rows, tested, strict=True)
    ]
    return [_compared(board, row, best, metric, p) for row, p in zip(board.rows, holm(p_values), strict=True)]


def _compared(board: Board, row: Row, best: Row | None, metric: str, p: float) -> Compared:
    nothing = float("nan"), float("nan")
    if metric not in row.values:
        return Compared(nothing, float("nan"), nothing, p)
    pairs = board.protocol.test_pairs
    interval = patient_interval(row.per_pair(metric), pairs)
    if best is None or row is best:
        return Compared(interval, float("nan"), nothing, p)
    gap = row.per_pair(metric) - best.per_pair(metric)
    return Compared(interval, float(np.nanmean(gap)), patient_interval(gap, pairs), p)


def comparison(board: Board) -> Sheet | None:
    """Intervals, differences to the best row and p-values; None where there is nothing to tell."""
    if PRIMARY not in board.metrics:
        return None
    digits, head = board.metrics[PRIMARY].digits, metric_head(PRIMARY, board.metrics[PRIMARY])
    unit = head.unit
    points = "points" if unit == "%" else unit
    best, results = board.best(), compare(board)
    columns = [
        (NAME, name_cells(board.rows)),
        (replace(head, better=None), [Cell(number(row.mean(PRIMARY), digits)) for row in board.rows]),
        (Head("95 % interval", unit), [Cell(_interval(r.interval, digits)) for r in results]),
    ]
    if any(len(row.runs) > 1 for row in board.rows):
        columns.append((Head("Seeds", f"± {points}", meaning="standard deviation of the mean from seed to seed"),
                        [Cell(number(row.seed_std(PRIMARY), digits)) for row in board.rows]))  # fmt: skip
    if best and len(board.rows) > 1:
        columns += [
            (Head("To best", points, meaning="difference to the best row"),
             [Cell("best" if row is best else signed(r.difference, digits))
              for row, r in zip(board.rows, results, strict=True)]),
            (Head("95 % interval", points), [Cell(_interval(r.difference_interval, digits)) for r in results]),
            (Head("p", "Holm"), [Cell(p_text(r.p)) for r in results]),
        ]  # fmt: skip
    return sheet(f"{head.name} with its uncertainty", columns, _notes(board, best, results))


def p_text(p: float) -> str:
    """A p-value as it is printed.

    >>> p_text(0.0004), p_text(0.0312), p_text(float("nan"))
    ('<0.001', '0.031', '–')
    """
    return "<0.001" if p < 0.001 else number(p, 3)


def _notes(board: Board, best: Row | None, results: Sequence[Compared]) -> list[str]:
    pairs, patients = len(board.protocol.test_pairs), len(board.patients)
    share = f", not of the {pairs} pairs, which share patients" if pairs > patients else ""
    notes = [f"Intervals: bootstrap of the {patients} test patients{share}; widened as so few patients need it."]
    if any(len(row.runs) > 1 for row in board.rows):
        notes.append("Several seeds are averaged pair by pair first: intervals and p are of pairs, not of seeds.")
    tests = sum(not isnan(r.p) for r in results)
    if best and tests:
        notes.append(
            f"p: Wilcoxon signed-rank on the means of the {pairs} pairs against {best.name}, Holm-corrected "
            f"for {counted(tests, 'test')}." + (" It takes the pairs as independent." if share else "")
        )
        notes += too_few(pairs, tests)
    return notes


def _interval(interval: tuple[float, float], digits: int) -> str:
    low, high = interval
    return EMPTY if np.isnan(low) else f"{number(low, digits)} to {number(high, digits)}"


def signed(value: float, digits: int) -> str:
    """A difference with its sign."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text != EMPTY else text
