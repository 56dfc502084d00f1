"""The sheet of the worst cases: means hide what a clinic would stumble over."""

import numpy as np
from jaxtyping import Float

from regbench.api import PairId, patient_of
from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.measured import mean_over
from regbench.leaderboard.row import Row
from regbench.leaderboard.views.columns import NAME, Column, dice30, name_cells, plain_column, structure_heads
from regbench.leaderboard.views.sheet import EMPTY, Head, Sheet, marked, number, sheet

_TAIL = 10


def worst_cases(board: Board) -> Sheet | None:
    """Each row's worst pair, its lowest tenth, its worst structure and what it made worse; None without DSC."""
    if PRIMARY not in board.metrics:
        return None
    metric = board.metrics[PRIMARY]
    ranked = [row.is_ranked for row in board.rows]

    def numbers(head: Head, values: list[float]) -> Column:
        return head, marked([number(value, metric.digits) for value in values], ranked, better=head.better)

    unit, rows = metric.unit, board.rows
    scans = Head("Its scans", "fixed, moving", is_text=True)
    structure = Head("Worst structure", f"mean {unit}", is_text=True)
    harm = Head("Harmed", "%", "lower", "pair × structure entries below Initial")
    columns: list[Column] = [
        (NAME, name_cells(rows)),
        numbers(Head("Worst", f"pair {unit}", "higher", "DSC of the worst pair"), [worst_pair(row)[1] for row in rows]),
        plain_column(scans, rows, lambda row: _scans(worst_pair(row)[0])),
        numbers(Head("P10", unit, "higher", "a tenth of the pairs is below"), [lowest_tenth(row) for row in rows]),
        numbers(Head("Dice30", unit, "higher", is_spare=True), dice30(board)),
        plain_column(structure, rows, lambda row: _structure(board, row)),
        numbers(harm, [harmed(row, board.initial) for row in rows]),
    ]
    return sheet("Worst cases", columns, [])


def worst_pair(row: Row) -> tuple[PairId | None, float]:
    """The pair with the lowest mean DSC, and that mean; (None, NaN) where none was scored."""
    if PRIMARY not in row.values or not np.isfinite(row.per_pair(PRIMARY)).any():
        return None, float("nan")
    values = row.per_pair(PRIMARY)
    place = int(np.nanargmin(values))
    return row.record.protocol.test_pairs[place], float(values[place])


def lowest_tenth(row: Row) -> float:
    """The 10th percentile of the pairs' mean DSC; NaN where none was scored."""
    values = row.per_pair(PRIMARY) if PRIMARY in row.values else np.array([])
    values = values[np.isfinite(values)]
    return float(np.percentile(values, _TAIL)) if len(values) else float("nan")


def harmed(row: Row, initial: Row | None) -> float:
    """Percent of the pair × structure entries whose DSC is below that of the unregistered pair; NaN without Initial.

    An entry that only one of the two has does not count.
    """
    if initial is None or row is initial or PRIMARY not in row.values or PRIMARY not in initial.values:
        return float("nan")
    before, after = _entries(initial), _entries(row)
    both = np.isfinite(before) & np.isfinite(after)
    return float((after[both] < before[both]).mean() * 100) if both.any() else float("nan")


def _entries(row: Row) -> Float[np.ndarray, "pairs labels"]:
    return mean_over(row.values[PRIMARY], axis=0)


def _scans(pair: PairId | None) -> str:
    """Both scans; those of one patient without saying the patient twice."""
    if pair is None:
        return EMPTY
    moving = pair.moving.removeprefix(f"{patient_of(pair.fixed)}/")
    return f"{pair.fixed}, {moving}"


def _structure(board: Board, row: Row) -> str:
    if PRIMARY not in row.values:
        return EMPTY
    means = row.per_label(PRIMARY)
    if not np.isfinite(means).any():
        return EMPTY
    place = int(np.nanargmin(means))
    return f"{structure_heads(board)[place].name} {number(float(means[place]), board.metrics[PRIMARY].digits)}"
