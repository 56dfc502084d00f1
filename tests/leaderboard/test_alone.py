"""The rows "masks alone"."""

import csv
import io
import json

import numpy as np
import pytest

from regbench.api import Protocol
from regbench.leaderboard import Board, boards, render, sheets
from regbench.results import MasksRecord

ALONE = "Masks alone: A segmenter"


def masks(protocol: Protocol, **fields: object) -> MasksRecord:
    """Masks of a source: label 1 at 10, 20, … per cent in the test scans, 2 at 50 per cent, 7 missing in one scan."""
    alone = {
        scan: {1: 10.0 * (n + 1), 2: 50.0, 7: 30.0} if n else {1: 10.0, 2: 50.0} for n, scan in enumerate(protocol.test)
    }
    said = {
        "name": "segmenter", "title": "A segmenter", "distribution": "regbench", "version": "1", "configuration": {},
        "saw_test_images": False, "saw_test_labels": False, "used": "training and test", "alone": alone,
    }  # fmt: skip
    return MasksRecord(**{**said, **fields})


@pytest.fixture
def board(make_run, protocol) -> Board:
    values = {"dsc": np.full((10, 3), 40.0)}
    runs = [make_run(values={"dsc": np.full((10, 3), 20.0)}), make_run("ours", values, masks=masks(protocol))]
    return boards([*runs, make_run("plain", values)])[0]


def test_the_row_stands_below_initial_and_is_the_mean_over_the_pairs_fixed_scans(board) -> None:
    structures, overview = sheets(board)[:2]
    assert [row[0].text for row in structures.rows][:2] == ["Initial", ALONE]
    # b0 is fixed in four of the ten pairs, b1 in three, b2 in two, b3 in one
    first = (4 * 10 + 3 * 20 + 2 * 30 + 40) / 10
    by_pair = [(10 + 50) / 2] * 4 + [(20 + 50 + 30) / 3] * 3 + [(30 + 50 + 30) / 3] * 2 + [(40 + 50 + 30) / 3]
    mean = f"{np.mean(by_pair):.1f} ± {np.std(by_pair, ddof=1):.1f}"
    assert [cell.text for cell in structures.rows[1]][1:5] == [f"{first:.1f}", "50.0", "30.0", mean]
    assert [cell.text for cell in overview.rows[1]][:2] == [ALONE, mean]
    assert {cell.mark for row in (structures.rows[1], overview.rows[1]) for cell in row} == {None}
    assert any("read beside" in note for note in overview.notes)


def test_without_masks_at_test_there_is_no_such_row(make_run, protocol) -> None:
    run = make_run("ours", {"dsc": np.full((10, 3), 40.0)}, masks=masks(protocol, used="training", alone={}))
    assert not any("alone" in row[0].text for row in sheets(boards([run])[0])[0].rows)


def test_runs_of_one_source_share_the_row_whether_or_not_they_know_it(make_run, protocol) -> None:
    values = {"dsc": np.full((10, 3), 40.0)}
    known = make_run("ours", values, masks=masks(protocol))
    older = make_run("ours", values, seed=1, masks=masks(protocol, alone={}))
    worse = {scan: {1: 5.0} for scan in protocol.test}
    other = make_run("ours", values, row="more", masks=masks(protocol, configuration={"steps": 9}, alone=worse))
    same = make_run("ours", values, row="same", masks=masks(protocol, configuration={"a new field": 1}))
    (made,) = boards([known, older, other, same])
    assert len(made.rows) == 3
    names = [row[0].text for row in sheets(made)[0].rows]
    assert [name for name in names if "alone" in name] == [ALONE, f"{ALONE}[steps=9]"]


def test_masks_of_one_source_that_came_out_otherwise_are_one_row_as_seeds_are(make_run, protocol) -> None:
    first = {scan: {1: 10.0, 2: 50.0} for scan in protocol.test}
    second = {scan: {1: 30.0, 2: 50.0, 7: 20.0} for scan in protocol.test}
    values = {"dsc": np.full((10, 3), 40.0)}
    runs = [
        make_run("ours", values, seed=n, masks=masks(protocol, alone=alone)) for n, alone in enumerate((first, second))
    ]
    names = {row[0].text: [cell.text for cell in row[1:5]] for row in sheets(boards(runs)[0])[0].rows}
    assert names[ALONE] == ["20.0", "50.0", "20.0", "30.0 ± 0.0"]
    assert len(names) == 2


def test_other_programs_are_told(board) -> None:
    lines = list(csv.DictReader(io.StringIO(render([board], "csv", published=False))))
    found = [line for line in lines if line["origin"] == "masks alone"]
    assert [line["label"] for line in found] == ["", "spleen", "right kidney", "portal and splenic vein"]
    assert float(found[1]["mean"]) == pytest.approx(20.0)
    (told,) = json.loads(render([board], "json", published=False))
    assert told["masks_alone"][2]["mean"] == pytest.approx(50.0)
