"""The worst cases, by hand."""

import numpy as np
import pytest

from regbench.api import PairId
from regbench.leaderboard import boards, sheets
from regbench.leaderboard.views.worst import harmed, lowest_tenth, worst_pair


def test_the_worst_of_a_row(make_run, protocol) -> None:
    start = np.tile(np.array([[20.0, 30.0, 40.0]]), (10, 1))
    end = np.tile(np.array([[50.0, 25.0, 60.0]]), (10, 1)) + np.arange(10)[:, None]
    end[3, 0] = np.nan
    end[7] = [1.0, 31.0, 40.0]
    runs = [make_run("identity", {"dsc": start}), make_run("mine", {"dsc": end})]
    [board] = boards(runs)
    initial, mine = board.rows
    assert worst_pair(mine) == (protocol.test_pairs[7], pytest.approx(24.0))
    assert lowest_tenth(mine) == pytest.approx(np.percentile(np.nanmean(end, axis=1), 10))
    # Below Initial: the second structure of the first five pairs, and the first of the eighth.
    assert harmed(mine, initial) == pytest.approx(100 * 6 / 29)
    assert np.isnan(harmed(initial, initial))
    sheet = next(sheet for sheet in sheets(board) if sheet.title == "Worst cases")
    cells = {head.name: cell.text for head, cell in zip(sheet.heads, sheet.rows[1], strict=True)}
    assert cells["Worst"] == "24.0"
    assert cells["Its scans"] == ", ".join(protocol.test_pairs[7])
    assert cells["Worst structure"].startswith("RK ")
    assert cells["Harmed"] == "20.7"


def test_a_patient_is_named_once(make_run, protocol) -> None:
    pairs = (PairId("b0/ES", "b0/ED"), PairId("b1/ES", "b2/ED"))
    used = protocol.model_copy(update={"test": tuple(s for pair in pairs for s in pair), "test_pairs": pairs})
    tables = [np.array([[1.0] * 3, [2.0] * 3]), np.array([[2.0] * 3, [1.0] * 3])]
    board = boards([make_run(name, {"dsc": t}, on=used) for name, t in zip("ab", tables, strict=True)])[0]
    sheet = next(sheet for sheet in sheets(board) if sheet.title == "Worst cases")
    place = [head.name for head in sheet.heads].index("Its scans")
    assert [row[place].text for row in sheet.rows] == ["b0/ES, ED", "b1/ES, b2/ED"]


def test_a_row_that_was_not_scored(make_run) -> None:
    runs = [make_run("identity", {"dsc": np.full((10, 3), 5.0)}), make_run("mine", {"hd95": np.ones((10, 3))})]
    [board] = boards(runs)
    mine = board.rows[1]
    assert worst_pair(mine)[0] is None
    assert np.isnan(lowest_tenth(mine))
    assert np.isnan(harmed(mine, board.initial))
