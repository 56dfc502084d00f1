"""What is printed: layout, marks, notes, formats."""

import csv
import io
import json
import re

import numpy as np
import pytest

from regbench.api import Protocol
from regbench.leaderboard import boards, render, sheets
from regbench.leaderboard.formats.layout import fit
from regbench.leaderboard.views.sheet import Cell, Sheet, marked
from regbench.results import DataRecord, MachineRecord, MasksRecord

PHANTOM = DataRecord(kind="phantom", fingerprint="f" * 16, pairs="p" * 16)


def dice(value: float, seed: int = 0, shape: tuple[int, int] = (10, 3)) -> np.ndarray:
    return np.random.default_rng(seed).normal(value, 2, shape)


def saw_truth() -> MasksRecord:
    return MasksRecord(
        name="truth", title="Truth", distribution="regbench", version="1", configuration={}, saw_test_images=True,
        saw_test_labels=True, used="training and test",
    )  # fmt: skip


@pytest.fixture
def board(make_run):
    runs = [
        make_run("identity", {"dsc": dice(10), "hd95": dice(30), "folding": np.zeros((10, 1))}),
        make_run("good", {"dsc": dice(50), "hd95": dice(12), "folding": np.full((10, 1), 0.5)}),
        make_run("fair", {"dsc": dice(40), "hd95": dice(20), "folding": np.full((10, 1), 0.1)}),
        make_run("poor", {"dsc": dice(30), "hd95": dice(11), "folding": np.full((10, 1), 0.9)}),
        make_run("cheat", {"dsc": dice(90), "hd95": dice(2), "folding": np.full((10, 1), 0.0)}, masks=saw_truth()),
        make_run("broken", status="failed", reason="It broke."),
    ]
    return boards(runs)[0]


def column(sheet: Sheet, name: str) -> dict[str, Cell]:
    place = [head.name for head in sheet.heads].index(name)
    return {row[0].text: row[place] for row in sheet.rows}


def test_best_and_second_are_marked_among_those_that_compete(board) -> None:
    overview = sheets(board)[1]
    marks = {name: cell.mark for name, cell in column(overview, "DSC").items()}
    assert marks == {"Initial": None, "Cheat †": None, "Good": "best", "Fair": "second", "Poor": None}
    marks = {name: cell.mark for name, cell in column(overview, "HD95").items()}
    assert marks == {"Initial": None, "Cheat †": None, "Good": "second", "Fair": None, "Poor": "best"}
    assert column(overview, "Fold")["Fair"].mark == "best"


def test_equal_prints_are_marked_alike() -> None:
    cells = marked(["1.0", "1.0", "0.9 ± 0.3", "–"], [True] * 4, better="higher")
    assert [cell.mark for cell in cells] == ["best", "best", None, None]
    cells = marked(["1.0", "0.9", "0.9 ± 0.3", "–"], [True] * 4, better="higher")
    assert [cell.mark for cell in cells] == ["best", "second", "second", None]
    assert [c.mark for c in marked(["1.0", "2.0"], [True, True], better="lower")] == ["best", None]
    assert [c.mark for c in marked(["1.0", "2.0"], [True, False], better="lower")] == [None, None]
    assert [c.mark for c in marked(["0.0", "0.0", "9.0"], [True, True, False], better="lower")] == [None, None, None]


def test_structures_are_in_the_layout_of_the_papers(board, protocol: Protocol) -> None:
    sheet = sheets(board)[0]
    assert [head.name for head in sheet.heads] == ["Method", "Spl", "RK", "PSV", "Mean"]
    good = next(row for row in board.rows if row.name == "Good")
    cells = next(row for row in sheet.rows if row[0].text == "Good")
    assert [float(cell.text) for cell in cells[1:4]] == pytest.approx(good.per_label("dsc"), abs=0.05)
    assert cells[4].text == f"{good.mean('dsc'):.1f} ± {good.std('dsc'):.1f}"
    assert sheet.legend == [f"{head.name}: {name}" for head, name in zip(sheet.heads[1:], protocol.labels.values())]  # noqa: B905


def test_uncertainty_names_the_best_and_the_tests(board) -> None:
    sheet = next(sheet for sheet in sheets(board) if "uncertainty" in sheet.title)
    p = {name: cell.text for name, cell in column(sheet, "p").items()}
    # Ten pairs, all with one sign: 2 / 2^10, times 3, 2 and 1 by Holm's order, never falling: all 3 / 512.
    assert p == {"Initial": "0.006", "Cheat †": "–", "Good": "–", "Fair": "0.006", "Poor": "0.006"}
    assert column(sheet, "To best")["Good"].text == "best"
    assert column(sheet, "To best")["Fair"].text.startswith("-")
    assert any("against Good" in note and "3 tests" in note for note in sheet.notes)


def test_too_few_pairs_are_admitted(make_run, protocol: Protocol) -> None:
    few = protocol.model_copy(update={"test_pairs": protocol.test_pairs[:4]})
    runs = [make_run(name, {"dsc": dice(v, shape=(4, 3))}, on=few) for name, v in (("identity", 1), ("a", 9), ("b", 5))]
    notes = " ".join(note for sheet in sheets(boards(runs)[0]) for note in sheet.notes)
    assert "With 4 pairs and 2 tests no p can be below 0.05" in notes


def test_flags_are_explained(make_run) -> None:
    short = dice(50)
    short[9] = np.nan
    board = boards([make_run("identity", {"dsc": dice(10)}), make_run("short", {"dsc": short})])[0]
    for sheet in sheets(board)[:2]:
        assert "Short ‡" in column(sheet, "Method")
        assert any(note.startswith("‡") and "Short: 9" in note for note in sheet.notes)


def test_vanished_structures_are_admitted(make_run) -> None:
    lost = dice(5)
    lost[0, 0] = np.nan
    runs = [make_run("identity", {"hd95": dice(9), "hd95-l2r": dice(9)})]
    runs += [
        make_run("bold", {"hd95": lost, "hd95-l2r": dice(9)}),
        make_run("bald", {"hd95": dice(9), "hd95-l2r": lost}),
    ]
    overview, further, *_ = sheets(boards(runs)[0])
    assert any("lacks, which flatters its mean: Bold: 1 of HD95." in note for note in overview.notes)
    assert any("lacks, which flatters its mean: Bald: 1 of HD95 (l2r)." in note for note in further.notes)


def test_a_metric_that_nothing_was_measured_in_has_no_column(make_run) -> None:
    tables = {"dsc": dice(9), "tre": np.full((10, 1), np.nan), "hd95-l2r": np.full((10, 3), np.nan)}
    made = sheets(boards([make_run("identity", tables), make_run("mine", tables)])[0])
    assert not {"TRE", "HD95 (l2r)"} & {head.name for sheet in made for head in sheet.heads}
    assert "Further metrics" not in [sheet.title for sheet in made]


def test_the_spread_from_seed_to_seed_is_printed(make_run) -> None:
    runs = [make_run("identity", {"dsc": dice(10)}), make_run("once", {"dsc": dice(20)})]
    runs += [make_run("mine", {"dsc": dice(50, seed) + seed}, seed=seed) for seed in range(3)]
    board = boards(runs)[0]
    sheet = next(sheet for sheet in sheets(board) if "uncertainty" in sheet.title)
    mine = next(row for row in board.rows if row.name == "Mine")
    cells = {name: cell.text for name, cell in column(sheet, "Seeds").items()}
    assert cells == {"Initial": "–", "Once": "–", "Mine": f"{mine.seed_std('dsc'):.1f}"}
    assert any("averaged pair by pair" in note for note in sheet.notes)
    single = next(sheet for sheet in sheets(boards(runs[:2])[0]) if "uncertainty" in sheet.title)
    assert "Seeds" not in [head.name for head in single.heads]


def test_words_are_broken_at_blanks_only(board) -> None:
    making = sheets(board)[-1]
    for width in range(120, 60, -1):
        for layout in fit(making, width):
            for place, given in zip(layout.columns[1:], layout.widths[1:], strict=True):
                assert given >= max(len(word) for row in making.rows for word in row[place].text.split())


def test_code_is_said_once_where_it_is_the_same(board, make_run) -> None:
    assert "Code" not in [head.name for head in sheets(board)[-1].heads]
    assert any("with regbench 1.0 on A processor" in note for note in sheets(board)[-1].notes)
    mixed = boards([make_run("a", {"dsc": dice(9)}), make_run("b", {"dsc": dice(8)}, version="1.1")])[0]
    assert {cell.text for cell in column(sheets(mixed)[-1], "Code").values()} == {"regbench 1.0", "regbench 1.1"}


def test_machines_that_do_not_compare_are_named(make_run) -> None:
    runs = [make_run("identity", {"dsc": dice(1)}), make_run("a", {"dsc": dice(2)})]
    gpu = runs[1].record.machine.model_dump() | {"accelerator": "A GPU"}
    other = make_run("b", {"dsc": dice(2)}, machine=MachineRecord(**gpu))
    notes = " ".join(note for sheet in sheets(boards([*runs, other])[0]) for note in sheet.notes)
    assert "2 machines" in notes
    assert "A GPU" in notes


def test_threads_that_do_not_compare_are_named(make_run) -> None:
    """A job of 'run --jobs' has its share of the threads only."""
    alike = make_run("identity", {"dsc": dice(1)}).record.machine
    alone, shared = (alike.model_copy(update={"threads": threads}) for threads in (2, 1))
    runs = [make_run("a", {"dsc": dice(1)}, machine=alone), make_run("b", {"dsc": dice(2)}, machine=shared)]
    notes = " ".join(sheets(boards(runs)[0])[-1].notes)
    assert "do not compare: A processor, 2 cores, 1 thread, Linux" in notes
    assert "A processor, 2 cores, 2 threads, Linux" in notes


def test_a_table_says_what_it_is(board, make_run) -> None:
    text = render([board], "table")
    assert "Toys · real scans" in text
    assert "protocol small r1 · 8×6×4 voxels · 10 pairs of 5 patients · 3 structures" in text
    assert "share no patient" in text
    assert "Broken, seed 0: failed: It broke." in text
    phantom = boards([make_run("identity", {"dsc": dice(1)}, data=PHANTOM)])
    assert "Toys · phantoms" in render(phantom, "table")
    assert "Synthetic scans" in render(phantom, "table")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_keeps_to_its_width_and_loses_nothing(make_run, width: int) -> None:
    protocol = wide_protocol()
    runs = [make_run("identity", {"dsc": dice(30, shape=(3, 13))}, on=protocol)]
    runs += [
        make_run(f"m{n}", {"dsc": dice(40 + n, n, (3, 13))}, on=protocol, title=title)
        for n, title in enumerate(["VoxelMorph", "A method with a long name[integration_steps=7,width=64] + segmenter"])
    ]
    text = render(boards(runs), "table", width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    [board] = boards(runs)
    for row in board.rows:
        for value in row.per_label("dsc"):
            assert f"{value:.1f}" in text


def wide_protocol() -> Protocol:
    from regbench.api import Crop, PairId, Window

    return Protocol(
        task="toy", name="wide", revision=1, title="wide", train=(), test=("a", "b", "c"), train_pairs=(),
        validation_pairs=(), test_pairs=(PairId("a", "b"), PairId("a", "c"), PairId("b", "c")),
        labels={n: f"{word} organ number{n}" for n, word in enumerate("abcdefghijklm")},
        grid=Crop(shape=(8, 8, 8), spacing_mm=(1, 1, 1)), quick_shape=(8, 8, 8), intensity=Window(low=0, high=1),
    )  # fmt: skip


def test_the_papers_regularity_stands_beside_the_structures(make_run) -> None:
    run = make_run("identity", {"dsc": dice(30), "sdlogj-l2r": np.full((10, 1), 0.25)})
    structures = sheets(boards([run])[0])[0]
    assert (structures.heads[-1].name, structures.heads[-1].unit) == ("SDlogJ", "l2r")
    assert structures.rows[0][-1].text == "0.250"


def test_spare_columns_go_first(board) -> None:
    worst = next(sheet for sheet in sheets(board) if sheet.title == "Worst cases")
    kept = [layouts[0].columns for width in range(120, 30, -1) if len(layouts := fit(worst, width)) == 1]
    assert len(kept[0]) == len(worst.heads)
    assert {worst.heads[place].name for place in set(kept[0]) - set(kept[-1])} == {"Dice30"}


def test_masks_and_supervision_of_each_row(make_run) -> None:
    def seen(name: str, used: str, *, labels: bool = False) -> MasksRecord:
        return MasksRecord(
            name=name, title=name, distribution="regbench", version="1", configuration={}, saw_test_images=False,
            saw_test_labels=labels, used=used,
        )  # fmt: skip

    runs = [
        make_run("identity", {"dsc": dice(10)}),
        make_run("plain", {"dsc": dice(20)}),
        make_run("weak", {"dsc": dice(30)}, masks=seen("segmenter", "training")),
        make_run("both", {"dsc": dice(40)}, masks=seen("segmenter", "training and test")),
        make_run("taught", {"dsc": dice(50)}, masks=seen("truth", "training", labels=True)),
        make_run("guided", {"dsc": dice(60)}, masks=seen("files", "training and test"), trained=False),
    ]
    making = sheets(boards(runs)[0])[-1]
    places = [n for n, head in enumerate(making.heads) if head.name in ("Masks", "Source", "Supervision")]
    assert [making.heads[n].caption for n in places[:2]] == ["train", "test"]
    assert {row[0].text: [row[n].text for n in places] for row in making.rows} == {
        "Initial": ["–", "–", "–", "no training"],
        "Plain": ["–", "–", "–", "none"],
        "Weak": ["✓", "–", "segmenter", "masks"],
        "Both": ["✓", "✓", "segmenter", "masks"],
        "Taught": ["✓", "–", "truth", "true labels"],
        "Guided": ["–", "✓", "files", "no training"],
    }


def test_what_a_row_costs_stands_in_the_overview(board) -> None:
    overview = sheets(board)[1]
    heads = [head.name for head in overview.heads]
    cells = next(row for row in overview.rows if row[0].text == "Good")
    assert [cells[heads.index(name)].text for name in ("Time", "Mem", "Param")] == ["0.500", "0.50", "0.00"]


def test_markdown_is_a_table_with_marks(board) -> None:
    text = render([board], "md")
    good = next(row for row in board.rows if row.name == "Good")
    assert f"| Good | **{good.mean('dsc'):.1f}** ± {good.std('dsc'):.1f} |" in text
    assert "<u>" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_csv_has_every_row_metric_and_structure(board, protocol: Protocol) -> None:
    lines = list(csv.DictReader(io.StringIO(render([board], "csv"))))
    by_key = {(line["row"], line["metric"], line["label"]): line for line in lines}
    for row in board.rows:
        assert float(by_key[row.name, "hd95", ""]["mean"]) == pytest.approx(row.mean("hd95"))
        for label, value in zip(protocol.labels.values(), row.per_label("hd95"), strict=True):
            assert float(by_key[row.name, "hd95", label]["mean"]) == pytest.approx(value)
        assert (row.name, "folding", "spleen") not in by_key
        assert float(by_key[row.name, "seconds_per_pair", ""]["mean"]) == 0.5
        assert by_key[row.name, "dice30", ""]["mean"]
    assert by_key["Cheat", "dsc", ""]["saw_test_labels"] == "True"
    assert {line["origin"] for line in lines} == {"measured"}


def test_json_has_rows_failures_and_runs(board) -> None:
    [data] = json.loads(render([board], "json"))
    assert [row["name"] for row in data["rows"]] == [row.name for row in board.rows]
    assert data["without_row"][0]["reason"] == "It broke."
    assert data["rows"][0]["runs"] == [board.rows[0].record.run_id]
    mean = next(v for v in data["rows"][2]["values"] if v["metric"] == "dsc" and "label" not in v)
    assert mean["mean"] == pytest.approx(board.rows[2].mean("dsc"))
    assert data["rows"][2]["supervision"] == "none"
    assert data["rows"][2]["cost"][0]["peak_memory_mib"] == 512
    assert data["rows"][2]["training"][0]["steps_done"] == 100
    assert data["average_ranks"]["rows"]["Good"] == 1.0
    assert data["average_ranks"]["not_told_apart"] == []
    assert data["learn2reg_ranking"] == []


def test_every_printed_number_is_exported(board) -> None:
    """Each number of the sheets of results stands in the csv, with all its digits, in a line of the same row."""
    lines = list(csv.DictReader(io.StringIO(render([board], "csv"))))
    number = re.compile(r"-?\d+\.\d+")
    numeric = (
        "mean",
        "std",
        "low95",
        "high95",
        "difference_to_best",
        "difference_low95",
        "difference_high95",
        "p_holm",
    )
    for sheet in sheets(board)[:4]:
        for row in sheet.rows:
            own = [line for line in lines if line["row"] == row[0].text.strip(" †‡")]
            exported = [float(line[name]) for line in own for name in numeric if line[name]]
            # Memory is printed in GiB and exported in MiB, parameters in millions and one by one.
            exported += [value / 1024 for value in exported] + [value / 1e6 for value in exported]
            for text in (found for cell in row[1:] if "<" not in cell.text for found in number.findall(cell.text)):
                half = 0.5001 * 10.0 ** -len(text.partition(".")[2])
                assert any(abs(value - float(text)) <= half for value in exported), (sheet.title, row[0].text, text)


def test_l2r_ranking_replaces_the_paired_one(make_run) -> None:
    good = {"dsc": dice(50), "hd95-l2r": dice(5), "sdlogj-l2r": np.full((10, 1), 0.1)}
    poor = {"dsc": dice(20), "hd95-l2r": dice(15), "sdlogj-l2r": np.full((10, 1), 0.1)}
    board = boards([make_run("identity", poor), make_run("good", good)])[0]
    sheet = next(sheet for sheet in sheets(board, ranking="l2r") if sheet.title == "Learn2Reg ranking")
    assert [[cell.text for cell in row] for row in sheet.rows] == [
        # Initial has no field: whatever was measured, its SDlogJ counts as missing, so as 1.5.
        ["Good", "1.000", "1.000", "1.000", "1.000", "1.000"],
        ["Initial", "0.100", "0.100", "0.100", "0.100", "0.100"],
    ]
    assert all("uncertainty" not in sheet.title for sheet in sheets(board, ranking="l2r"))
    [data] = json.loads(render([board], "json", ranking="l2r"))
    assert [(line["row"], round(line["total"], 3)) for line in data["learn2reg_ranking"]] == [
        ("Good", 1.0), ("Initial", 0.1),
    ]  # fmt: skip


def test_a_board_of_failures_alone_is_printed(make_run) -> None:
    text = render(boards([make_run("broken", status="failed", reason="It broke.")]), "table")
    assert "It broke." in text
