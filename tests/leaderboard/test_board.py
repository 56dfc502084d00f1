"""Which numbers meet in a board, in which rows, and how they are pooled."""

import numpy as np
import pytest

from regbench.api import Protocol
from regbench.leaderboard import boards
from regbench.leaderboard.views.columns import dice30
from regbench.results import DataRecord, MasksRecord


def masks(
    name: str = "segmenter", used: str = "training and test", *, labels: bool = False, configuration: object = None
) -> MasksRecord:
    return MasksRecord(
        name=name, title=name, distribution="regbench", version="1", configuration=configuration or {},
        saw_test_images=labels, saw_test_labels=labels, used=used,
    )  # fmt: skip


def dice(value: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(value, 2, (10, 3))


def test_what_differs_in_the_scoring_never_shares_a_board(make_run, protocol: Protocol) -> None:
    phantom = DataRecord(kind="phantom", fingerprint="f" * 16, pairs="p" * 16)
    other_data = DataRecord(kind="real", fingerprint="e" * 16, pairs="p" * 16)
    other_pairs = DataRecord(kind="real", fingerprint="f" * 16, pairs="q" * 16)
    variants = [
        {},
        {"data": phantom},
        {"data": other_data},
        {"data": other_pairs},
        {"on": protocol.at((4, 6, 4))},
        {"on": protocol.model_copy(update={"name": "other"})},
        {"on": protocol.model_copy(update={"revision": 2})},
        {"on": protocol.model_copy(update={"labels": {1: "spleen", 2: "right kidney", 7: "liver"}})},
        {"on": protocol.model_copy(update={"task": "other"})},
    ]
    runs = [make_run("identity", {"dsc": dice(10)}, **variant) for variant in variants]
    assert len(boards(runs)) == len(variants)


def test_wording_does_not_part_a_board(make_run, protocol: Protocol) -> None:
    reworded = protocol.model_copy(update={"title": "Another title", "notes": ("A note.",)})
    runs = [make_run("identity", {"dsc": dice(10)}), make_run("mine", {"dsc": dice(20)}, on=reworded)]
    [board] = boards(runs)
    assert len(board.rows) == 2


def test_presets_share_a_board_and_are_told_apart(make_run) -> None:
    runs = [
        make_run("identity", {"dsc": dice(10)}),
        make_run("mine", {"dsc": dice(20)}, steps=200),
        make_run("mine", {"dsc": dice(30)}, steps=9000, preset="paper"),
        make_run("mine", {"dsc": dice(25)}, steps=200, version="2.0"),
    ]
    [board] = boards(runs)
    assert [row.name for row in board.rows] == [
        "Initial",
        "Mine (paper, 9000 steps, regbench 1.0)",
        "Mine (quick, 200 steps, regbench 2.0)",
        "Mine (quick, 200 steps, regbench 1.0)",
    ]


def test_names_carry_titles_settings_and_masks(make_run) -> None:
    runs = [
        make_run("vm", {"dsc": dice(20)}, title="VoxelMorph"),
        make_run(
            "vm", {"dsc": dice(21)}, title="VoxelMorph", row="vm[steps=7] + truth", masks=masks("truth", "training"),
            configuration={"steps": 7},
        ),
        make_run("ours", {"dsc": dice(22)}, title="Ours", masks=masks("truth", labels=True)),
        make_run("ours", {"dsc": dice(23)}, title="Ours", masks=masks("segmenter")),
    ]  # fmt: skip
    [board] = boards(runs)
    assert {row.name for row in board.rows} == {
        "VoxelMorph",
        "VoxelMorph[steps=7] + truth",
        "Ours (masks: truth)",
        "Ours (masks: segmenter)",
    }


def test_namesakes_tell_the_settings_that_they_do_not_share(make_run) -> None:
    few, folds = ({"steps": 9, **more} for more in ({}, {"folds": 2}))
    runs = [
        make_run("ours", {"dsc": dice(21)}, title="Ours", masks=masks("segmenter", configuration=few)),
        make_run("ours", {"dsc": dice(22)}, title="Ours", masks=masks("segmenter", configuration=folds)),
        make_run("vm", {"dsc": dice(23)}, title="VoxelMorph", configuration={"width": 8}),
        make_run("vm", {"dsc": dice(24)}, title="VoxelMorph", configuration={"width": 8, "depth": 4}),
    ]
    [board] = boards(runs)
    assert {row.name for row in board.rows} == {
        "Ours (masks: segmenter)",
        "Ours (masks: segmenter[folds=2])",
        "VoxelMorph",
        "VoxelMorph (depth=4)",
    }


def test_namesakes_tell_of_their_recipes_what_neither_preset_nor_steps_say(make_run) -> None:
    def recipe(steps: int, rate: float, contour: float) -> dict[str, object]:
        return {"steps": steps, "weights": {"smooth": 4.0, "contour": contour}, "optimisation": {"learning_rate": rate}}

    runs = [
        make_run("ours", {"dsc": dice(20)}, steps=150, recipe=recipe(150, 1e-3, 0.1)),
        make_run("ours", {"dsc": dice(21)}, steps=900, recipe=recipe(900, 1e-3, 0.1)),
        make_run("ours", {"dsc": dice(22)}, steps=900, recipe=recipe(900, 1e-3, 0.2)),
        make_run("ours", {"dsc": dice(23)}, steps=5000, recipe=recipe(5000, 1e-4, 0.1), preset="paper"),
    ]
    [board] = boards(runs)
    assert {row.name for row in board.rows} == {
        "Ours (quick, 150 steps, weights.contour=0.1)",
        "Ours (quick, 900 steps, weights.contour=0.1)",
        "Ours (quick, 900 steps, weights.contour=0.2)",
        "Ours (paper, 5000 steps)",
    }


def test_seeds_are_pooled_by_pair(make_run) -> None:
    tables = [dice(20, seed) for seed in range(3)]
    tables[1][4, 2] = np.nan
    runs = [make_run("mine", {"dsc": table}, seed=seed) for seed, table in enumerate(tables)]
    [board] = boards(runs)
    [row] = board.rows
    per_pair = np.mean([np.nanmean(table, axis=1) for table in tables], axis=0)
    np.testing.assert_allclose(row.per_pair("dsc"), per_pair)
    assert row.mean("dsc") == pytest.approx(per_pair.mean())
    assert row.std("dsc") == pytest.approx(per_pair.std(ddof=1))
    by_seed = [np.nanmean(table, axis=1).mean() for table in tables]
    assert row.seed_std("dsc") == pytest.approx(np.std(by_seed, ddof=1))
    np.testing.assert_allclose(row.per_label("dsc"), np.mean([np.nanmean(table, axis=0) for table in tables], axis=0))


def test_a_run_that_says_which_masks_it_saw_is_pooled_with_older_ones(make_run) -> None:
    older = masks("segmenter", "training")
    newer = older.model_copy(update={"digest": "0" * 64})
    [board] = boards(make_run("mine", {"dsc": dice(20, n)}, seed=n, masks=saw) for n, saw in enumerate((older, newer)))
    assert [len(row.runs) for row in board.rows] == [2]


def test_of_two_runs_with_one_seed_the_later_counts(make_run) -> None:
    early = make_run("mine", {"dsc": np.full((10, 3), 1.0)}, finished="2025-01-01T00:00:00Z")
    late = make_run("mine", {"dsc": np.full((10, 3), 2.0)}, finished="2025-02-01T00:00:00Z")
    [board] = boards([late, early])
    assert board.rows[0].mean("dsc") == 2.0
    assert len(board.rows[0].runs) == 1


def test_initial_is_first_and_one_row_whatever_version_measured_it(make_run) -> None:
    runs = [
        make_run("mine", {"dsc": dice(50)}),
        make_run("yours", {"dsc": dice(70)}),
        make_run("identity", {"dsc": dice(10)}, version="1.0"),
        make_run("identity", {"dsc": dice(10)}, version="2.0", seed=1),
    ]
    [board] = boards(runs)
    assert [row.name for row in board.rows] == ["Initial", "Yours", "Mine"]


def test_best_is_a_complete_row_that_saw_no_truth(make_run) -> None:
    short = dice(90)
    short[9] = np.nan
    runs = [
        make_run("identity", {"dsc": dice(99)}),
        make_run("cheat", {"dsc": dice(95)}, masks=masks("truth", labels=True)),
        make_run("short", {"dsc": short}),
        make_run("taught", {"dsc": dice(40)}, masks=masks("truth", "training", labels=True)),
        make_run("plain", {"dsc": dice(30)}),
    ]
    [board] = boards(runs)
    assert board.best().name == "Taught"
    assert {row.name: row.is_ranked for row in board.rows} == {
        "Initial": False, "Cheat": False, "Short": False, "Taught": True, "Plain": True,
    }  # fmt: skip


def test_best_of_a_lower_is_better_metric(make_run) -> None:
    runs = [make_run("a", {"hd95": np.full((10, 3), 5.0)}), make_run("b", {"hd95": np.full((10, 3), 4.0)})]
    [board] = boards(runs)
    assert board.best("hd95").name == "B"


def test_runs_without_a_row_are_listed_with_reasons(make_run) -> None:
    runs = [
        make_run("identity", {"dsc": dice(10)}),
        make_run("a", status="failed", reason="It broke."),
        make_run("b", status="skipped", reason="Needs masks."),
        make_run("c", status="interrupted"),
        make_run("d", status="running"),
    ]
    [board] = boards(runs)
    assert [row.name for row in board.rows] == ["Initial"]
    assert [(f.name, f.status) for f in board.failures] == [
        ("A", "failed"), ("B", "skipped"), ("C", "interrupted"), ("D", "running"),
    ]  # fmt: skip
    assert board.failures[0].reason == "It broke."
    assert all(failure.reason for failure in board.failures)


def test_dice30_is_the_mean_of_the_hardest_entries(make_run) -> None:
    start, end = dice(20, 1), dice(50, 2)
    start[0, 0] = end[0, 0] = np.nan
    [board] = boards([make_run("identity", {"dsc": start}), make_run("mine", {"dsc": end})])
    lowest = np.argsort(start.reshape(-1))[: round(29 * 0.3)]
    assert dice30(board) == pytest.approx([start.reshape(-1)[lowest].mean(), end.reshape(-1)[lowest].mean()])


def test_vanished_structures_are_counted(make_run) -> None:
    start, end = np.full((10, 3), 9.0), np.full((10, 3), 5.0)
    end[:4, 1] = np.nan
    [board] = boards([make_run("identity", {"hd95": start}), make_run("mine", {"hd95": end})])
    assert board.rows[1].missing("hd95", board.initial) == 4
    assert board.initial.missing("hd95", board.initial) == 0
