"""The sheet of a method's ablations: its rows with parts switched off, in the layout of a paper's table of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.paired import holm, too_few, wilcoxon_p
from regbench.leaderboard.views.columns import (
    NAME,
    PAPERS_REGULARITY,
    REGULARITY,
    Column,
    metric_column,
    metric_columns,
    name_cells,
    plain_column,
)
from regbench.leaderboard.views.comparison import p_text, signed
from regbench.leaderboard.views.numbers import dice30_column
from regbench.leaderboard.views.sheet import EMPTY, YES, Cell, Head, Sheet, counted, sheet

_METRICS = ("hd95", "folding", "tre")


@dataclass(frozen=True, eq=False)
class Ablation:
    """Rows of one method that differ in nothing but what is switched on.

    Attributes:
        switches: the fields that are on in some rows and off in others, in the method's order.
        rows: from the fewest switches on to the most.
    """

    switches: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def full(self) -> Row | None:
        """The row with everything on, or None."""
        return next((row for row in self.rows if all(_is_on(row, name) for name in self.switches)), None)


def ablations(board: Board, method: str) -> list[Ablation]:
    """The groups of rows of a method that differ in switches only; nothing for a method without two such rows."""
    groups: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.record.method.name == method:
            groups.setdefault(_apart_from_switches(row), []).append(row)
    return [_ablation(rows) for rows in groups.values() if len(rows) > 1]


def ablation_sheets(board: Board, method: str) -> list[Sheet]:
    """A sheet for each group of ablations."""
    return [_sheet(board, found) for found in ablations(board, method)]


def _ablation(rows: Sequence[Row]) -> Ablation:
    fields: Mapping[str, object] = rows[0].record.method.configuration
    switches = tuple(name for name in fields if len({_is_on(row, name) for row in rows}) > 1)

    def place(row: Row) -> tuple[int, list[bool]]:
        off = [not _is_on(row, name) for name in switches]
        return -sum(off), off

    return Ablation(switches, tuple(sorted(rows, key=place)))


def _is_on(row: Row, name: str) -> bool:
    return row.record.method.configuration.get(name) is True


def _apart_from_switches(row: Row) -> str:
    """All that has to be equal, so that a difference comes from the switches.

    The recipe is left to the row's name: switching a part off takes its loss term's weight out of the recipe, too, and
    the name tells only the changes that were asked for.
    """
    record, training = row.record, row.record.training
    fields = {name: value for name, value in record.method.configuration.items() if not isinstance(value, bool)}
    brackets = record.row.partition("[")[2].rpartition("]")[0]
    asked = [part for part in brackets.split(",") if part and part[0] not in "+-"]
    length = (training.budget_seconds or training.steps) if training else None
    code = [record.method.distribution, record.method.version, record.preset]
    masks = record.masks.model_dump(mode="json") if record.masks else None
    return json.dumps([fields, asked, length, code, masks, record.refine], sort_keys=True, default=str)


def _sheet(board: Board, found: Ablation) -> Sheet:
    rows = found.rows
    part = replace(board, rows=rows)
    columns: list[Column] = [(NAME, name_cells(rows))]
    columns += [
        (Head(name.replace("_", " ").capitalize()), [Cell(YES if _is_on(row, name) else EMPTY) for row in rows])
        for name in found.switches
    ]
    if PRIMARY in part.metrics:
        columns += [metric_column(part, PRIMARY, spread=True), _hardest(board, rows)]
    if REGULARITY in part.metrics:
        columns.append((PAPERS_REGULARITY, metric_column(part, REGULARITY)[1]))
    columns += metric_columns(part, _METRICS)
    if len({len(row.runs) for row in rows}) > 1:
        columns.append(plain_column(Head("Seeds"), rows, lambda row: str(len(row.runs))))
    notes: list[str] = []
    if found.full and PRIMARY in found.full.values:
        more, notes = _against(found.full, rows, part.metrics[PRIMARY].digits, len(board.protocol.test_pairs))
        columns += more
    record = rows[-1].record
    masks = f", masks of {record.masks.name}" if record.masks else ""
    return sheet(f"Ablations of {record.method.title}{masks}", columns, notes)


def _hardest(board: Board, rows: Sequence[Row]) -> Column:
    """Dice30 needs the board's Initial row, which is no ablation."""
    head, cells = dice30_column(board)
    by_row = dict(zip(board.rows, cells, strict=True))
    return head, [Cell(by_row[row].text) for row in rows]


def _against(full: Row, rows: Sequence[Row], digits: int, pairs: int) -> tuple[list[Column], list[str]]:
    """Each row's difference to the full method, and whether it may be chance."""
    gaps = [row.mean(PRIMARY) - full.mean(PRIMARY) for row in rows]
    tested = [row is not full and PRIMARY in row.values for row in rows]
    p = holm([
        wilcoxon_p(row.per_pair(PRIMARY), full.per_pair(PRIMARY)) if test else np.nan
        for row, test in zip(rows, tested, strict=True)
    ])  # fmt: skip
    differences = [Cell("full" if row is full else signed(gap, digits)) for row, gap in zip(rows, gaps, strict=True)]
    columns: list[Column] = [
        (Head("To full", "points"), differences),
        (Head("p", "Holm"), [Cell(p_text(value)) for value in p]),
    ]
    tests = sum(not isnan(value) for value in p)
    note = (
        f"p: Wilcoxon signed-rank on the means of the {pairs} pairs against {full.name}, Holm-corrected for "
        f"{counted(tests, 'test')}."
    )
    return columns, [note, *too_few(pairs, tests)] if tests else []
