"""The sheet of the Learn2Reg ranking, and the rows in its order."""

import numpy as np

from regbench.leaderboard.board import Board
from regbench.leaderboard.measured import Table, mean_over
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.l2r import METRICS, RANKED, l2r_scores
from regbench.leaderboard.views.columns import Column
from regbench.leaderboard.views.sheet import Cell, Head, Sheet, marked, number, sheet

_SMOOTHNESS = "sdlogj-l2r"
_NOTES = (
    "Score 1: beaten by the fewest methods; 0.1: by the most, or not measured. A method is beaten where a Wilcoxon "
    "rank-sum test over all cases × structures says so (p < 0.05, uncorrected). Total: geometric mean.",
    "All rows take part, Initial too, but those that saw true labels of the test scans.",
)


def l2r_sheet(board: Board) -> Sheet | None:
    """The rows in the order of the Learn2Reg challenge's ranking; None without an Initial row."""
    ranked = ranking(board)
    if not ranked:
        return None
    columns: list[Column] = [(Head("Method", is_text=True), [Cell(row.name) for row, _ in ranked])]
    for title in (*RANKED, "total"):
        texts = [number(score[title], 3) for _, score in ranked]
        columns.append((Head(title.capitalize() if title == "total" else title, "", "higher"),
                        marked(texts, [True] * len(texts), better="higher")))  # fmt: skip
    absent = [m.name for m in METRICS if not any(m.name in row.values for row, _ in ranked)]
    notes = [f"Not measured, so 0.1 for all: {', '.join(absent)}."] if absent else []
    return sheet("Learn2Reg ranking", columns, [*_NOTES, *notes])


def ranking(board: Board) -> list[tuple[Row, dict[str, float]]]:
    """The rows that take part with their scores, best total first; empty without an Initial row."""
    initial = board.initial
    if initial is None:
        return []
    taking_part = [row for row in board.rows if not row.saw_test_labels and row.values]
    scores = l2r_scores([_tables(row) for row in taking_part], _tables(initial))
    return sorted(zip(taking_part, scores, strict=True), key=lambda place: -place[1]["total"])


def _tables(row: Row) -> dict[str, Table]:
    tables = {m.name: mean_over(row.values[m.name], axis=0) for m in METRICS if m.name in row.values}
    if row.is_initial and _SMOOTHNESS in tables:  # without a field it has none in the challenge, which fills it in
        tables[_SMOOTHNESS] = np.full_like(tables[_SMOOTHNESS], np.nan)
    return tables
