"""Published numbers: the file, and where they are shown."""

import csv
from pathlib import Path

import numpy as np
import pytest

from regbench.leaderboard import boards, render, sheets
from regbench.leaderboard.views.published import published_tables
from regbench.results import DataRecord
from regbench_leaderboards import footnotes, published

FILE = Path(__file__).parents[2] / "leaderboards" / "regbench_leaderboards" / "published.csv"


def board_of(make_run, protocol, task: str, name: str, **fields):
    labels = {1: "spleen", 2: "right kidney", 4: "gallbladder"}
    used = protocol.model_copy(update={"task": task, "name": name, "labels": labels})
    run = make_run("identity", {"dsc": np.full((10, 3), 20.0)}, on=used, **fields)
    return boards([run])[0]


def test_every_line_is_read() -> None:
    with FILE.open(newline="") as file:
        lines = list(csv.DictReader(file))
    keys = {(line["task"], line["protocol"]) for line in lines}
    assert sum(len(published(*key)) for key in keys) == len(lines)
    number = next(n for n in published("abdomen", "ipmi25") if n.method == "VoxelMorph" and n.label == "mean")
    assert (number.value, number.std, number.where) == (38.4, 16.6, "Table 1")


def test_the_mean_of_a_row_is_about_the_mean_of_its_structures() -> None:
    """A slip of the pen in the file would show; the paper's own Initial, which a footnote doubts, is left out."""
    for task in ("abdomen", "acdc"):
        by_method: dict[str, dict[str, float]] = {}
        for n in published(task, "ipmi25"):
            if n.metric == "dsc" and n.where != "Table 3":
                by_method.setdefault(n.method, {})[n.label] = n.value
        for method, values in by_method.items():
            mean = values.pop("mean")
            if (task, method) != ("abdomen", "Initial"):
                assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.35), (task, method)


def test_shown_beside_the_same_task_and_protocol_only(make_run, protocol) -> None:
    assert published_tables(board_of(make_run, protocol, "abdomen", "ipmi25"))
    assert not published_tables(board_of(make_run, protocol, "abdomen", "sample20"))
    assert not published_tables(board_of(make_run, protocol, "toy", "ipmi25"))
    phantom = DataRecord(kind="phantom", fingerprint="f" * 16, pairs="p" * 16)
    assert not published_tables(board_of(make_run, protocol, "abdomen", "ipmi25", data=phantom))


def test_apart_unmarked_with_source_and_footnotes(make_run, protocol) -> None:
    board = board_of(make_run, protocol, "abdomen", "ipmi25")
    sheet = next(sheet for sheet in sheets(board) if sheet.is_published)
    assert "Xu et al., IPMI 2025, Table 1" in sheet.title
    assert [head.name for head in sheet.heads] == ["Method", "Spl", "RK", "Mean", "SDlogJ", "Masks seen"]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in sheet.rows}
    assert rows["CorrMLP + SAM"] == ["77.1", "72.8", "61.3 ± 11.3", "0.103", "train"]
    assert len(rows) == 11
    assert {cell.mark for row in sheet.rows for cell in row} == {None}
    assert any("17.1" in note and "25.1" in note for note in sheet.notes)
    assert sheet.notes == footnotes("abdomen", "ipmi25")
    assert not any(sheet.is_published for sheet in sheets(board, published=False))
    measured = [sheet for sheet in sheets(board) if not sheet.is_published]
    assert all("SAM" not in cell.text for sheet in measured for row in sheet.rows for cell in row)


def test_ablations_are_a_table_of_their_own(make_run, protocol) -> None:
    board = board_of(make_run, protocol, "acdc", "ipmi25")
    [table] = published_tables(board, ablation=True)
    assert [(row.method, row.mean["dsc"]) for row in table.rows] == [
        ("Ours w/o prototype, w/o contour", 83.0), ("Ours w/o contour", 83.5), ("Ours", 84.6),
    ]  # fmt: skip


def test_exports_say_published(make_run, protocol) -> None:
    board = board_of(make_run, protocol, "abdomen", "ipmi25")
    assert "published,abdomen" in render([board], "csv")
    assert "published,abdomen" not in render([board], "csv", published=False)
    assert '"published": []' in render([board], "json", published=False)
