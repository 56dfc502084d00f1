"""Boards as Markdown."""

from collections.abc import Iterable

from regbench.leaderboard.board import Board
from regbench.leaderboard.formats.caption import failures, headline, particulars, remarks
from regbench.leaderboard.views.sheet import Cell, Head, Sheet

_MARKS = {"best": ("**", "**"), "second": ("<u>", "</u>"), None: ("", "")}


def markdown(board: Board, sheets: Iterable[Sheet]) -> str:
    """A board's sheets below its caption."""
    blocks = [f"## {headline(board)}", particulars(board), *remarks(board)]
    for sheet in sheets:
        blocks += [f"### {sheet.title}", _table(sheet)]
        blocks += _bullets([" · ".join(sheet.legend)] if sheet.legend else [], sheet.notes)
    if board.failures:
        blocks += ["### Without a row", *_bullets(failures(board))]
    if board.protocol.notes:
        blocks += [f"### Protocol {board.protocol.name}", *_bullets(board.protocol.notes)]
    return "\n\n".join(blocks) + "\n"


def _table(sheet: Sheet) -> str:
    lines = [
        _line(_head(head) for head in sheet.heads),
        _line(":---" if head.is_text else "---:" for head in sheet.heads),
        *(_line(_cell(cell) for cell in row) for row in sheet.rows),
    ]
    return "\n".join(lines)


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', '∣') for text in texts)} |"


def _head(head: Head) -> str:
    return f"{head.name} ({head.unit}) {head.arrow}".replace(" ()", "").strip()


def _cell(cell: Cell) -> str:
    value, blank, spread = cell.text.partition(" ± ")
    before, after = _MARKS[cell.mark]
    return f"{before}{value}{after}{blank}{spread}"


def _bullets(*groups: Iterable[str]) -> list[str]:
    lines = [f"- {line}" for group in groups for line in group]
    return ["\n".join(lines)] if lines else []
