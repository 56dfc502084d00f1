"""Boards as text, or as something that rich prints."""

from collections.abc import Sequence
from io import StringIO
from typing import Literal

from rich.console import Console, RenderableType

from regbench.leaderboard.board import Board
from regbench.leaderboard.formats.export import to_csv, to_json
from regbench.leaderboard.formats.latex import END, PREAMBLE, latex
from regbench.leaderboard.formats.markdown import markdown
from regbench.leaderboard.formats.terminal import terminal
from regbench.leaderboard.views.ablation import ablation_sheets
from regbench.leaderboard.views.comparison import comparison
from regbench.leaderboard.views.l2r import l2r_sheet
from regbench.leaderboard.views.making import making
from regbench.leaderboard.views.numbers import further, overview, structures
from regbench.leaderboard.views.published import published_sheet, published_tables
from regbench.leaderboard.views.sheet import Sheet
from regbench.leaderboard.views.worst import worst_cases

Format = Literal["table", "md", "csv", "json", "latex"]
Ranking = Literal["paired", "l2r"]


def sheets(
    board: Board,
    *,
    ranking: Ranking = "paired",
    published: bool = True,
    brief: bool = False,
    ablation: str | None = None,
) -> list[Sheet]:
    """A board's sheets in the order in which they are printed.

    Args:
        board: what to print.
        ranking: how rows are told apart: paired tests against the best, or as the Learn2Reg challenge ranks.
        published: whether published numbers of the same task and protocol follow.
        brief: only the structures and the overview.
        ablation: only the rows of this method that differ in what is switched on.
    """
    if not board.rows:
        return []
    first: list[Sheet | None] = []
    if ablation is not None:
        first += ablation_sheets(board, ablation)
        if not first:
            return []
    else:
        first += [structures(board), overview(board)]
        if not brief:
            first += [comparison(board) if ranking == "paired" else l2r_sheet(board)]
            first += [worst_cases(board), further(board), making(board)]
    if published:
        first += [published_sheet(board, table) for table in published_tables(board, ablation=ablation is not None)]
    return [sheet for sheet in first if sheet]


def renderable(
    board: Board,
    *,
    ranking: Ranking = "paired",
    published: bool = True,
    brief: bool = False,
    ablation: str | None = None,
) -> RenderableType:
    """A board for a rich console; see `sheets`."""
    return terminal(board, sheets(board, ranking=ranking, published=published, brief=brief, ablation=ablation))


def render(
    boards: Sequence[Board],
    form: Format,
    *,
    ranking: Ranking = "paired",
    published: bool = True,
    ablation: str | None = None,
    width: int = 100,
) -> str:
    """Boards as text.

    Args:
        boards: what to print.
        form: "table" (plain text, `width` characters wide), "md", "latex", "csv" (long) or "json"; the last two hold
            everything, whatever is asked for.
        ranking: see `sheets`.
        published: see `sheets`.
        ablation: see `sheets`.
        width: of a table.
    """
    if form == "csv":
        return to_csv(boards, published=published)
    if form == "json":
        return to_json(boards, published=published, learn2reg=ranking == "l2r")
    if form in ("md", "latex"):
        write = markdown if form == "md" else latex
        parts = [
            write(board, sheets(board, ranking=ranking, published=published, ablation=ablation)) for board in boards
        ]
        return "\n".join(parts if form == "md" else [PREAMBLE, *parts, f"{END}\n"])
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        for board in boards:
            console.print(renderable(board, ranking=ranking, published=published, ablation=ablation), "")
    return captured.get()
