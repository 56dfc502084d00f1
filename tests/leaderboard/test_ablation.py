"""The table of a method's ablations."""

import numpy as np
import pytest

from regbench.leaderboard import boards, render, sheets
from regbench.leaderboard.views.ablation import ablations
from regbench.results import MasksRecord


def dice(value: float) -> np.ndarray:
    return np.random.default_rng(0).normal(value, 2, (10, 3))


def masks(name: str) -> MasksRecord:
    return MasksRecord(
        name=name, title=name, distribution="regbench", version="1", configuration={}, saw_test_images=False,
        saw_test_labels=False, used="training and test",
    )  # fmt: skip


@pytest.fixture
def ablated(make_run):
    def run(value: float, *, prototype: bool = True, contour: bool = True, width: int = 8, **fields):
        off = [f"-{name}" for name, on in (("prototype", prototype), ("contour", contour)) if not on]
        changes = off + ([f"width={width}"] if width != 8 else [])
        configuration = {"width": width, "prototype": prototype, "contour": contour, "shared": True}
        return make_run(
            "ours",
            {"dsc": dice(value), "sdlogj-l2r": np.full((10, 1), value / 1000)},
            row="ours" + (f"[{','.join(changes)}]" if changes else ""),
            configuration=configuration,
            **{"masks": masks("segmenter"), **fields},
        )

    return run


@pytest.fixture
def board(make_run, ablated):
    runs = [
        make_run("identity", {"dsc": dice(10)}),
        make_run("other", {"dsc": dice(60)}, configuration={"prototype": False}),
        ablated(50),
        ablated(44, contour=False),
        ablated(46, prototype=False),
        ablated(40, prototype=False, contour=False),
        ablated(70, width=16),
        ablated(80, prototype=False, masks=masks("truth")),
        ablated(90, refine=50),
    ]
    return boards(runs)[0]


def test_rows_from_everything_off_to_everything_on_with_marks(board) -> None:
    [sheet] = [sheet for sheet in sheets(board, ablation="ours") if not sheet.is_published]
    assert [head.name for head in sheet.heads[:3]] == ["Method", "Prototype", "Contour"]
    assert [tuple(cell.text for cell in row[:3]) for row in sheet.rows] == [
        ("Ours[-prototype,-contour]", "–", "–"),
        ("Ours[-contour]", "✓", "–"),
        ("Ours[-prototype] (masks: segmenter)", "–", "✓"),
        ("Ours", "✓", "✓"),
    ]
    heads = [head.name for head in sheet.heads]
    assert [row[heads.index("To full")].text for row in sheet.rows] == ["-10.0", "-6.0", "-4.0", "full"]
    # Ten pairs, all with one sign: 2 / 2^10, times three.
    assert [row[heads.index("p")].text for row in sheet.rows] == ["0.006", "0.006", "0.006", "–"]
    assert [row[heads.index("SDlogJ")].text for row in sheet.rows] == ["0.040", "0.044", "0.046", "0.050"]
    dsc = heads.index("DSC")
    assert [row[dsc].mark for row in sheet.rows] == [None, None, "second", "best"]


def test_seeds_are_said_where_they_differ_in_number(board, make_run, ablated) -> None:
    [sheet] = [sheet for sheet in sheets(board, ablation="ours") if not sheet.is_published]
    assert "Seeds" not in [head.name for head in sheet.heads]
    board = boards([ablated(50), ablated(52, seed=1), ablated(44, contour=False)])[0]
    [sheet] = sheets(board, ablation="ours")
    place = [head.name for head in sheet.heads].index("Seeds")
    assert [(row[0].text, row[place].text) for row in sheet.rows] == [("Ours[-contour]", "1"), ("Ours", "2")]


def test_only_switches_may_differ(board) -> None:
    [found] = ablations(board, "ours")
    assert found.switches == ("prototype", "contour")
    assert found.full is not None
    assert found.full.name == "Ours"
    assert ablations(board, "other") == []


def test_without_the_full_row_nothing_is_compared(make_run, ablated) -> None:
    board = boards([ablated(44, contour=False), ablated(46, prototype=False)])[0]
    [sheet] = sheets(board, ablation="ours")
    assert "To full" not in [head.name for head in sheet.heads]
    assert ablations(board, "ours")[0].full is None


def test_published_ablations_follow(make_run, ablated, protocol) -> None:
    used = protocol.model_copy(update={"task": "acdc", "name": "ipmi25"})
    board = boards([ablated(50, on=used), ablated(44, contour=False, on=used)])[0]
    *_, last = sheets(board, ablation="ours")
    assert "Table 3" in last.title
    assert [row[0].text for row in last.rows] == ["Ours w/o prototype, w/o contour", "Ours w/o contour", "Ours"]
    assert "Table 3" in render([board], "table", ablation="ours")
    assert "Prototype" not in render([board], "latex")
