"""Columns that several sheets share: names with their flags, means, and the metrics' heads."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.measured import mean_over
from regbench.leaderboard.naming import abbreviations
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.paired import hardest
from regbench.leaderboard.views.sheet import Cell, Head, marked, number
from regbench.results import MetricRecord

Column = tuple[Head, Sequence[Cell]]

UPPER_BOUND, INCOMPLETE = "†", "‡"
NAME = Head("Method", is_text=True)
SPREAD = " ± "
REGULARITY = "sdlogj-l2r"
PAPERS_REGULARITY = Head("SDlogJ", "l2r", "lower", "as the Learn2Reg evaluation and most papers count it")
"""The papers' tables print this one; narrower than the head of the same column among the further metrics."""

# Short heads for long titles; any other metric is printed under its own title.
_HEADS = {
    "dsc": ("DSC", ""),
    "hd95": ("HD95", "95th percentile of the surface distances; a lost structure counts the volume's diagonal"),
    "assd": ("ASSD", "average symmetric surface distance"),
    "sdlogj": ("SDlogJ", "standard deviation of log det J"),
    "folding": ("Fold", "voxels with det J ≤ 0"),
    "tre": ("TRE", "target registration error"),
    "ndv": ("NDV", "non-diffeomorphic volume"),
    "inverse-consistency": ("Inv", "inverse consistency"),
    "hd95-l2r": ("HD95 (l2r)", "as the Learn2Reg evaluation counts it"),
    "sdlogj-l2r": ("SDlogJ (l2r)", "as the Learn2Reg evaluation and most papers count it"),
}


def name_cells(rows: Sequence[Row]) -> list[Cell]:
    """The rows' names with their flags."""
    return [Cell(row.name + flags(row)) for row in rows]


def flags(row: Row) -> str:
    """What keeps a row out of the competition."""
    marks = (UPPER_BOUND if row.saw_test_labels else "") + ("" if row.is_complete else INCOMPLETE)
    return f" {marks}" if marks else ""


def flag_notes(board: Board) -> list[str]:
    """The flags of a board's rows, explained."""
    notes = []
    if any(row.saw_test_labels for row in board.rows):
        notes.append(f"{UPPER_BOUND} saw true labels of the test scans: an upper bound, not a result; not ranked.")
    short = [row for row in board.rows if not row.is_complete]
    if short:
        counts = ", ".join(f"{row.name}: {int(row.scored.sum()) if row.values else 0}" for row in short)
        total = len(board.protocol.test_pairs)
        notes.append(f"{INCOMPLETE} scored on fewer than the {total} pairs ({counts}); not ranked.")
    return notes


def metric_head(name: str, metric: MetricRecord) -> Head:
    """The head of a metric's column."""
    short, meaning = _HEADS.get(name, (metric.title, ""))
    return Head(short, metric.unit, "higher" if metric.higher_is_better else "lower", meaning)


def metric_column(board: Board, name: str, *, spread: bool = False) -> Column:
    """A metric's mean over pairs, with its standard deviation if asked for."""
    metric = board.metrics[name]
    texts = [number(row.mean(name), metric.digits) for row in board.rows]
    if spread:
        stds = [number(row.std(name), metric.digits) for row in board.rows]
        texts = [f"{text}{SPREAD}{std}" if name in row.values else text
                 for text, std, row in zip(texts, stds, board.rows, strict=True)]  # fmt: skip
    head = metric_head(name, metric)
    return head, marked(texts, [row.is_ranked for row in board.rows], better=head.better)


def metric_columns(board: Board, names: Iterable[str]) -> list[Column]:
    """The columns of those metrics that some row has a value of."""
    return [metric_column(board, name) for name in names if any(np.isfinite(row.mean(name)) for row in board.rows)]


def plain_column(head: Head, rows: Sequence[Row], cell: Callable[[Row], str]) -> Column:
    """A column without a best."""
    return head, [Cell(cell(row)) for row in rows]


def structure_heads(board: Board) -> list[Head]:
    """A column's head for each structure of the protocol; its meaning is the structure's name."""
    names = list(board.protocol.labels.values())
    return [Head(short, meaning=name) for short, name in zip(abbreviations(names), names, strict=True)]


def dice30(board: Board) -> list[float]:
    """Each row's mean Dice over the 30 % of pair × label entries with the lowest Initial Dice; NaN without Initial."""
    initial = board.initial
    if initial is None or PRIMARY not in initial.values:
        return [float("nan")] * len(board.rows)
    hard = hardest(mean_over(initial.values[PRIMARY], axis=0))
    return [
        float(mean_over(mean_over(row.values[PRIMARY], axis=0)[hard], axis=0)) if PRIMARY in row.values else np.nan
        for row in board.rows
    ]
