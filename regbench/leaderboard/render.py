"""Boards as text, or as something that rich prints."""

from collections.abc import Sequence
from io import StringIO
from typing import Literal

from rich.console import Console, RenderableType

from regbench.leaderboard.board import Board
from regbench.leaderboard.comparison import comparison
from regbench.leaderboard.export import to_csv, to_json
from regbench.leaderboard.l2r import l2r_sheet
from regbench.leaderboard.making import making
from regbench.leaderboard.markdown import markdown
from regbench.leaderboard.published import published_sheet, published_tables
from regbench.leaderboard.sheet import Sheet
from regbench.leaderboard.sheets import further, overview, structures
from regbench.leaderboard.terminal import terminal

Format = Literal["table", "md", "csv", "json"]
Ranking = Literal["paired", "l2r"]


def sheets(board: Board, *, ranking: Ranking = "paired", published: bool = True, brief: bool = False) -> list[Sheet]:
    """A board's sheets in the order in which they are printed.

    Args:
        board: what to print.
        ranking: how rows are told apart: paired tests against the best, or as the Learn2Reg challenge ranks.
        published: whether published numbers of the same task and protocol follow.
        brief: only the overview and the structures.
    """
    if not board.rows:
        return []
    first = [overview(board), structures(board)]
    if not brief:
        first += [comparison(board) if ranking == "paired" else l2r_sheet(board), further(board), making(board)]
    if published:
        first += [published_sheet(board, table) for table in published_tables(board)]
    return [sheet for sheet in first if sheet]


def renderable(
    board: Board, *, ranking: Ranking = "paired", published: bool = True, brief: bool = False
) -> RenderableType:
    """A board for a rich console; see `sheets`."""
    return terminal(board, sheets(board, ranking=ranking, published=published, brief=brief))


def render(
    boards: Sequence[Board], form: Format, *, ranking: Ranking = "paired", published: bool = True, width: int = 100
) -> str:
    """Boards as text.

    Args:
        boards: what to print.
        form: "table" (plain text, `width` characters wide), "md", "csv" (long, with everything), "json".
        ranking: see `sheets`.
        published: see `sheets`.
        width: of a table.
    """
    if form == "csv":
        return to_csv(boards, published=published)
    if form == "json":
        return to_json(boards, published=published)
    if form == "md":
        parts = [markdown(board, sheets(board, ranking=ranking, published=published)) for board in boards]
        return "\n".join(parts)
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        for board in boards:
            console.print(renderable(board, ranking=ranking, published=published), "")
    return captured.get()
