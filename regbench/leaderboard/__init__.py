"""Records in, tables out: boards, their statistics, and how they are printed."""

from regbench.leaderboard.board import PRIMARY, Board, Failure, boards
from regbench.leaderboard.measured import Measured, arrange, measured
from regbench.leaderboard.render import Format, Ranking, render, renderable, sheets
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.ranks import Ranks, ranks

__all__ = [
    "PRIMARY",
    "Board",
    "Failure",
    "Format",
    "Measured",
    "Ranking",
    "Ranks",
    "Row",
    "arrange",
    "boards",
    "measured",
    "ranks",
    "render",
    "renderable",
    "sheets",
]
