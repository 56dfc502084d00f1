"""Published rows, in the layout of the measured ones; they are shown apart and never ranked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.views.columns import NAME, PAPERS_REGULARITY, REGULARITY, SPREAD, Column, structure_heads
from regbench.leaderboard.views.sheet import Cell, Head, Sheet, number, sheet
from regbench_leaderboards import PublishedNumber, footnotes, published

ABLATION = "Table 3"
_MEAN = "mean"
_METRICS = {"dsc": PRIMARY, "sdlogj_l2r": REGULARITY}


@dataclass(frozen=True)
class PublishedRow:
    """A row as a paper prints it.

    Attributes:
        method: the row's name in the source.
        masks: what the method saw, in the source's words.
        by_label: structure → DSC in percent.
        mean: metric → mean.
        std: metric → standard deviation, where it is printed.
    """

    method: str
    masks: str
    by_label: Mapping[str, float]
    mean: Mapping[str, float]
    std: Mapping[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """The rows of one source.

    Attributes:
        source: whose numbers they are.
        where: the table or page.
        rows: in the source's order.
        notes: what is doubtful about them.
    """

    source: str
    where: str
    rows: tuple[PublishedRow, ...]
    notes: tuple[str, ...]


def published_tables(board: Board, *, ablation: bool = False) -> list[PublishedTable]:
    """What has been published for the board's task and protocol; nothing for phantoms.

    Args:
        board: the measured rows that they will stand beside.
        ablation: the table of ablations instead of the others.
    """
    if board.is_phantom:
        return []
    tables: dict[tuple[str, str], list[PublishedNumber]] = {}
    for given in published(board.task, board.protocol.name):
        if (given.where == ABLATION) == ablation:
            tables.setdefault((given.source, given.where), []).append(given)
    notes = footnotes(board.task, board.protocol.name)
    return [PublishedTable(source, where, _rows(numbers), notes) for (source, where), numbers in tables.items()]


def published_sheet(board: Board, table: PublishedTable) -> Sheet:
    """A source's rows in the layout of the measured structures; nothing is marked as best."""
    rows = table.rows
    columns: list[Column] = [(NAME, [Cell(row.method) for row in rows])]
    columns += [
        (head, [Cell(number(row.by_label.get(head.meaning), 1)) for row in rows])
        for head in structure_heads(board)
        if any(head.meaning in row.by_label for row in rows)
    ]
    columns.append((Head("Mean"), [Cell(_mean_text(row)) for row in rows]))
    if any(REGULARITY in row.mean for row in rows):
        head = replace(PAPERS_REGULARITY, better=None)
        columns.append((head, [Cell(number(row.mean.get(REGULARITY), 3)) for row in rows]))
    columns.append((Head("Masks seen", is_text=True), [Cell(row.masks) for row in rows]))
    title = f"Published, not measured here: {table.source}, {table.where} (DSC in %)"
    return replace(sheet(title, columns, table.notes), is_published=True)


def _mean_text(row: PublishedRow) -> str:
    mean = number(row.mean.get(PRIMARY), 1)
    return f"{mean}{SPREAD}{number(row.std[PRIMARY], 1)}" if PRIMARY in row.std else mean


def _rows(numbers: list[PublishedNumber]) -> tuple[PublishedRow, ...]:
    methods: dict[str, list[PublishedNumber]] = {}
    for given in numbers:
        methods.setdefault(given.method, []).append(given)
    return tuple(_row(name, group) for name, group in methods.items())


def _row(name: str, numbers: list[PublishedNumber]) -> PublishedRow:
    whole = [given for given in numbers if given.label in ("", _MEAN)]
    return PublishedRow(
        method=name,
        masks=numbers[0].masks,
        by_label={given.label: given.value for given in numbers if given not in whole},
        mean={_METRICS[given.metric]: given.value for given in whole},
        std={_METRICS[given.metric]: given.std for given in whole if given.std is not None},
    )
