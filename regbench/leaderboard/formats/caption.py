"""What stands above a board, and what below it."""

from regbench.api.grid import times
from regbench.leaderboard.board import Board
from regbench.leaderboard.views.sheet import counted

PHANTOM = "Synthetic scans made by regbench: good for trying and comparing methods, no evidence about patients."
DISJOINT = "Training and test share no patient; this is checked for every protocol."


def headline(board: Board) -> str:
    """The board's title.

    It names the task and what kind of scans these are, so that a phantom board is never taken for a real one.
    """
    kind = "phantoms" if board.is_phantom else "real scans"
    return f"{board.task_title} · {kind}"


def particulars(board: Board) -> str:
    """What has to be equal for another number to stand in this board."""
    protocol = board.protocol
    parts = [
        f"protocol {protocol.name} r{protocol.revision}",
        f"{times(protocol.grid.shape)} voxels",
        f"{counted(len(protocol.test_pairs), 'pair')} of {counted(len(board.patients), 'patient')}",
        counted(len(protocol.labels), "structure"),
        f"data {board.data.fingerprint[:8]}",
        *(f"task.{name}={value}" for name, value in board.data.settings.items()),
    ]
    return " · ".join(parts)


def remarks(board: Board) -> list[str]:
    """What is to be said about the data."""
    return [PHANTOM] if board.is_phantom else [DISJOINT]


def failures(board: Board) -> list[str]:
    """One sentence for each run that gave no row."""
    return [
        f"{failure.name}, seed {failure.seed}: {failure.status}"
        + (f": {failure.reason}" if failure.reason else "")
        + f" (run {failure.run_id[:8]})"
        for failure in board.failures
    ]
