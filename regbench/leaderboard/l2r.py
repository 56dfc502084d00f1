"""The sheet of the Learn2Reg ranking."""

from regbench.leaderboard.board import Board
from regbench.leaderboard.columns import Column
from regbench.leaderboard.measured import Table, mean_over
from regbench.leaderboard.ranking import METRICS, RANKED, l2r_scores
from regbench.leaderboard.row import Row
from regbench.leaderboard.sheet import Cell, Head, Sheet, marked, number, sheet

_NOTES = (
    "Score 1: beaten by the fewest methods; 0.1: by the most, or not measured. A method is beaten where a Wilcoxon "
    "rank-sum test over all cases × structures says so (p < 0.05, uncorrected). Total: geometric mean.",
    "All rows take part, Initial too, but those that saw true labels of the test scans.",
)


def l2r_sheet(board: Board) -> Sheet | None:
    """The rows in the order of the Learn2Reg challenge's ranking; None without an Initial row."""
    initial = board.initial
    taking_part = [row for row in board.rows if not row.saw_test_labels and row.values]
    if initial is None:
        return None
    scores = l2r_scores([_tables(row) for row in taking_part], _tables(initial))
    order = sorted(range(len(taking_part)), key=lambda n: -scores[n]["total"])
    columns: list[Column] = [(Head("Method", is_text=True), [Cell(taking_part[n].name) for n in order])]
    for title in (*RANKED, "total"):
        texts = [number(scores[n][title], 3) for n in order]
        columns.append((Head(title.capitalize() if title == "total" else title, "", "higher"),
                        marked(texts, [True] * len(texts), better="higher")))  # fmt: skip
    absent = [m.name for m in METRICS if not any(m.name in row.values for row in taking_part)]
    notes = [f"Not measured, so 0.1 for all: {', '.join(absent)}."] if absent else []
    return sheet("Learn2Reg ranking", columns, [*_NOTES, *notes])


def _tables(row: Row) -> dict[str, Table]:
    return {m.name: mean_over(row.values[m.name], axis=0) for m in METRICS if m.name in row.values}
