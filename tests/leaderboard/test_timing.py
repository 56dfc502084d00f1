"""Which runs were timed beside others, and that the board says so."""

import json

import numpy as np
import pytest

from regbench.leaderboard import boards, render, sheets
from regbench.leaderboard.timing import timed_beside_others


@pytest.fixture
def run(make_run):
    def make(method: str, started: str, finished: str, evaluate: float = 60.0, **fields):
        given = make_run(method, {"dsc": np.full((10, 3), 50.0)}, run_id=method, **fields)
        cost = given.record.cost.model_copy(update={"wall_seconds": {"evaluate": evaluate}})
        times = {"started": f"2025-01-01T{started}Z", "finished": f"2025-01-01T{finished}Z", "cost": cost}
        return make_run(method, {"dsc": np.full((10, 3), 50.0)}, **{"run_id": method, **fields, **times})

    return make


def notes(board) -> list[str]:
    return [note for note in sheets(board)[1].notes if note.startswith("Time was")]


def test_only_the_registration_of_the_pairs_counts(run) -> None:
    runs = [
        run("long", "00:00:00", "02:00:00"),
        run("beside-its-training", "00:10:00", "00:20:00"),  # itself timed while the long one trains
        run("beside-its-pairs", "01:59:30", "02:01:00"),
        run("after", "02:01:00", "02:05:00", evaluate=900.0),  # evaluated in two sittings: longer than this one
        run("last", "02:05:00", "02:06:00"),
    ]
    assert timed_beside_others([run.record for run in runs]) == {"long", "beside-its-training"}
    assert timed_beside_others([run.record for run in runs[:2]]) == {"beside-its-training"}


def test_another_machine_is_not_beside(run) -> None:
    runs = [run("a", "00:00:00", "01:00:00"), run("b", "00:00:00", "01:00:00")]
    assert timed_beside_others([run.record for run in runs]) == {"a", "b"}
    machine = runs[1].record.machine
    for change in ({"processor": "Another"}, {"accelerator": "A GPU"}, {"system": "Darwin"}, {"cores": 9}):
        other = run("b", "00:00:00", "01:00:00", machine=machine.model_copy(update=change))
        assert timed_beside_others([runs[0].record, other.record]) == frozenset()


def test_the_board_names_them_whatever_the_other_run_was(run, protocol) -> None:
    elsewhere = run("other", "00:59:00", "03:00:00", on=protocol.model_copy(update={"name": "another"}))
    first, second = run("first", "00:00:00", "01:00:00"), run("second", "03:00:00", "04:00:00")
    third = run("third", "05:00:00", "06:00:00")
    board = next(board for board in boards([elsewhere, first, second, third]) if board.protocol.name == "small")
    [note] = notes(board)
    assert note.endswith("shorter alone: First.")
    [data] = json.loads(render([board], "json"))
    assert {row["name"]: row["timed_beside_others"] for row in data["rows"]} == {
        "First": [True], "Second": [False], "Third": [False],
    }  # fmt: skip
    assert notes(boards([first, second, third])[0]) == []
    crowd = run("crowd", "00:30:00", "03:30:00")
    [note] = notes(boards([first, second, third, crowd])[0])
    assert note.endswith("shorter alone: Crowd, First.")
    [note] = notes(boards([first, run("second", "00:59:30", "01:05:00"), crowd])[0])
    assert note.endswith("shorter alone: all rows but Crowd.")
