"""Records in, tables out: boards, their statistics, and how they are printed."""

from regbench.leaderboard.board import Board, Failure, boards
from regbench.leaderboard.measured import Measured, arrange, measured
from regbench.leaderboard.render import Format, Ranking, render, renderable, sheets
from regbench.leaderboard.row import Row

__all__ = [
    "Board",
    "Failure",
    "Format",
    "Measured",
    "Ranking",
    "Row",
    "arrange",
    "boards",
    "measured",
    "render",
    "renderable",
    "sheets",
]
