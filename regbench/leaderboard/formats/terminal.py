"""Boards on a terminal, with rich."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from regbench.leaderboard.board import Board
from regbench.leaderboard.formats.caption import failures, headline, particulars, remarks
from regbench.leaderboard.formats.layout import Layout, fit, flow, wrap_name
from regbench.leaderboard.views.columns import SPREAD
from regbench.leaderboard.views.sheet import Cell, Head, Sheet, legend

_STYLES = {"best": "bold", "second": "underline", None: ""}
_INDENT = 2


def terminal(board: Board, sheets: Iterable[Sheet]) -> RenderableType:
    """A board's sheets below its caption."""
    parts: list[RenderableType] = [Text(headline(board), "bold cyan"), Text(particulars(board), "dim")]
    parts += [Text(remark, "yellow" if board.is_phantom else "dim") for remark in remarks(board)]
    sheets = list(sheets)
    for sheet in (sheet for sheet in sheets if not sheet.is_published):
        parts += [Text(), SheetView(sheet)]
    if board.failures:
        parts += [Text(), Text("Without a row", "bold red"), *(_indented(line) for line in failures(board))]
    for sheet in (sheet for sheet in sheets if sheet.is_published):
        parts += [Text(), SheetView(sheet)]
    return Group(*parts)


@dataclass(frozen=True)
class SheetView:
    """A sheet with its title above, its legend and notes below, in as many tables as the width asks for."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The parts, top to bottom."""
        yield Text(self.sheet.title, "bold")
        layouts = fit(self.sheet, options.max_width)
        for place, layout in enumerate(layouts):
            if place:
                yield Text()
            yield _table(self.sheet, layout)
        shown = dict.fromkeys(column for layout in layouts for column in layout.columns)
        for line in flow(legend(self.sheet.heads[column] for column in shown), options.max_width - _INDENT):
            yield _indented(line, "dim")
        for note in self.sheet.notes:
            yield _indented(note, "dim")


def _table(sheet: Sheet, layout: Layout) -> Table:
    padding = (0, 0, 0, layout.gap - 1)
    table = Table(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=False, header_style="")
    for place, width in zip(layout.columns, layout.widths, strict=True):
        head = sheet.heads[place]
        justify: JustifyMethod = "left" if head.is_text else "right"
        table.add_column(_head(head), justify=justify, width=width, overflow="fold", vertical="bottom")
    for row in sheet.rows:
        cells = [_cell(row[place]) for place in layout.columns]
        cells[0] = Text("\n".join(wrap_name(row[0].text, layout.widths[0])))
        table.add_row(*cells)
    return table


def _head(head: Head) -> Text:
    text = Text(head.name, "bold")
    return text.append(f"\n{head.caption}", "dim") if head.caption else text


def _cell(cell: Cell) -> Text:
    value, blank, spread = cell.text.partition(SPREAD)
    return Text(value, _STYLES[cell.mark]).append(blank + spread, "dim")


def _indented(line: str, style: str = "") -> RenderableType:
    return Padding(Text(line, style), (0, 0, 0, _INDENT))
