"""The sheets of a board's numbers: the structures, the overview, and the metrics that neither has room for."""

from collections.abc import Iterable, Sequence

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.row import Row
from regbench.leaderboard.views.columns import (
    NAME,
    PAPERS_REGULARITY,
    REGULARITY,
    Column,
    dice30,
    flag_notes,
    metric_column,
    metric_columns,
    metric_head,
    name_cells,
    plain_column,
    structure_heads,
)
from regbench.leaderboard.views.masks_alone import beside
from regbench.leaderboard.views.sheet import EMPTY, Better, Head, Sheet, marked, number, sheet, significant

_OVERVIEW = ("hd95", "sdlogj", "folding", "tre")
_FURTHER = ("assd", "ndv", "inverse-consistency", "hd95-l2r", "sdlogj-l2r")
_MEBI_PER_GIBI = 1024
_MARKS_NOTE = "± is over pairs. Best bold, second underlined; Initial is not counted."


def overview(board: Board) -> Sheet:
    """The mean of every main metric and of those that others bring, and the cost."""
    columns: list[Column] = [(NAME, name_cells(board.rows))]
    if PRIMARY in board.metrics:
        columns += [metric_column(board, PRIMARY, spread=True), dice30_column(board)]
    shown = [*_OVERVIEW, *(name for name in board.metrics if name not in (PRIMARY, *_OVERVIEW, *_FURTHER))]
    columns += metric_columns(board, shown)
    columns += [
        plain_column(Head("Time", "s/pair"), board.rows, lambda row: significant(mean_cost(row, "seconds_per_pair"))),
        plain_column(Head("Mem", "GiB", meaning="peak memory, of the training if there is any"), board.rows, _memory),
        plain_column(Head("Param", "million", meaning="parameters of the network"), board.rows, _parameters),
    ]
    notes = [_MARKS_NOTE, *flag_notes(board), *_vanished(board, (PRIMARY, *shown)), *_crowded(board)]
    made = sheet("Overview", columns, notes)
    return beside(made, board, structures=False) if PRIMARY in board.metrics else made


def structures(board: Board) -> Sheet | None:
    """DSC of each structure, mean ± std, and the papers' SDlogJ: the layout of the papers' tables."""
    if PRIMARY not in board.metrics:
        return None
    metric = board.metrics[PRIMARY]
    ranked = [row.is_ranked for row in board.rows]
    better: Better = "higher" if metric.higher_is_better else "lower"
    columns: list[Column] = [(NAME, name_cells(board.rows))]
    for place, head in enumerate(structure_heads(board)):
        means = [float(row.per_label(PRIMARY)[place]) if PRIMARY in row.values else None for row in board.rows]
        columns.append((head, marked([number(mean, metric.digits) for mean in means], ranked, better=better)))
    head, cells = metric_column(board, PRIMARY, spread=True)
    columns.append((Head("Mean"), cells))
    if REGULARITY in board.metrics:
        columns.append((PAPERS_REGULARITY, metric_column(board, REGULARITY)[1]))
    made = sheet(f"{head.name} of each structure {head.caption}", columns, [_MARKS_NOTE, *flag_notes(board)])
    return beside(made, board, structures=True)


def further(board: Board) -> Sheet | None:
    """The metrics that the overview has no room for, or None."""
    columns = metric_columns(board, _FURTHER)
    if not columns:
        return None
    return sheet("Further metrics", [(NAME, name_cells(board.rows)), *columns], _vanished(board, _FURTHER))


def mean_cost(row: Row, name: str) -> float | None:
    """The mean over seeds of one of the cost record's numbers; None where it was not measured."""
    values = [value for run in row.runs if (value := getattr(run.cost, name)) is not None]
    return sum(values) / len(values) if values else None


def _memory(row: Row) -> str:
    mebibytes = mean_cost(row, "peak_memory_mib")
    return EMPTY if mebibytes is None else number(mebibytes / _MEBI_PER_GIBI, 2)


def _parameters(row: Row) -> str:
    count = mean_cost(row, "parameters")
    return EMPTY if count is None else number(count / 1e6, 2)


def dice30_column(board: Board) -> Column:
    """The mean of the hardest entries."""
    metric = board.metrics[PRIMARY]
    head = Head("Dice30", metric.unit, "higher", "DSC of the 30 % of entries with the lowest Initial DSC")
    texts = [number(value, metric.digits) for value in dice30(board)]
    return head, marked(texts, [row.is_ranked for row in board.rows], better="higher")


def _crowded(board: Board) -> Sequence[str]:
    """Seconds that were taken beside another run are not the method's own: say whose."""
    timed = [row for row in board.rows if not row.is_initial and mean_cost(row, "seconds_per_pair") is not None]
    crowded = [row.name for row in timed if any(run.run_id in board.beside_others for run in row.runs)]
    alone = [row.name for row in timed if row.name not in crowded]
    if not crowded:
        return []
    every = f"all rows but {', '.join(alone)}" if alone else "all rows"
    whose = every if len(crowded) > len(alone) else ", ".join(crowded)
    return [f"Time was taken while another run was at work on such a machine, so it may be shorter alone: {whose}."]


def _vanished(board: Board, metrics: Iterable[str]) -> Sequence[str]:
    """Distances of structures that a warp has wiped out are missing, which flatters the mean: say so."""
    initial = board.initial
    if initial is None:
        return []
    lost = [
        f"{row.name}: {count} of {metric_head(metric, board.metrics[metric]).name}"
        for metric in metrics for row in board.rows
        if (count := row.missing(metric, initial)) and row is not initial
    ]  # fmt: skip
    return [f"Values that Initial has and a row lacks, which flatters its mean: {', '.join(lost)}."] if lost else []
