"""`regbench masks make` and `masks score`: masks ahead of a run, and the row beside those that see masks."""

import functools
import json
from pathlib import Path

import pytest

from regbench.data import read_volume
from regbench.masks.degraded import DegradedMasks


@pytest.fixture
def make(call, plugin_words):
    return functools.partial(call, "masks", "make", "degraded", "--task", "balls", *plugin_words)


@pytest.fixture
def score(call, plugin_words):
    def scored(*words: str | Path) -> dict:
        result = call("masks", "score", *words, "--task", "balls", "--json", *plugin_words)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return scored


def test_scores_by_structure_and_by_scan(score) -> None:
    found = score("degraded", "--set", "masks.quality=0.8")
    assert found["structures"].keys() == {"ball", "core"}
    for structure in found["structures"].values():
        assert structure["mean"] == pytest.approx(80, abs=4)
    assert len(found["scans"]) == 3
    means = [sum(row.values()) / len(row) for row in found["scans"].values()]
    assert found["mean"] == pytest.approx(sum(means) / len(means), abs=1e-5)
    assert found["configuration"] == {"quality": 0.8}
    assert (found["saw_test_images"], found["saw_test_labels"]) == (True, True)
    assert score("truth")["mean"] == 100


def test_the_table_has_a_column_for_each_structure_and_says_what_was_seen(call, plugin_words) -> None:
    text = call("masks", "score", "truth", "--task", "balls", *plugin_words).stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["Truth", "100.0", "100.0", "100.0"] in lines
    assert ["±", "std", "0.0", "0.0", "0.0"] in lines
    assert "looked at their labels: an upper bound" in text
    assert "over 3 test scans" in text


def test_masks_that_were_made_are_found_by_a_run(make, run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = make("--set", "masks.quality=0.9")
    assert result.exit_code == 0, result.output
    assert "6 masks by 'degraded' are in the cache" in result.stdout
    monkeypatch.setattr("regbench.masks.degraded.degrade", None)  # from now on nothing can be made
    result = run("--method", "learner", "--steps", "1", "--masks", "degraded", "--set", "masks.quality=0.9")
    assert result.exit_code == 0, result.output
    assert run("--method", "learner", "--steps", "1", "--masks", "degraded").exit_code == 1


def test_written_masks_come_back_as_they_were(make, score, balls_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    result = make("--data", balls_folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == [f"c{n}.nii.gz" for n in range(1, 7)]
    scan, mask = read_volume(balls_folder / "c1.nii.gz"), read_volume(out / "c1.nii.gz", "labels")
    assert mask.grid.matches(scan.grid)
    direct = score("degraded", "--data", balls_folder)
    by_files = score("files", "--data", balls_folder, "--set", f"masks.folder={out}")
    assert by_files["scans"] == direct["scans"]
    assert by_files["data"] == "real"
    result = make("--data", balls_folder, "--out", out)
    assert result.exit_code == 2
    assert "not empty" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "There is no mask source called 'nobody'"),
        (("degraded", "--set", "masks.qualty=0.5"), "did you mean 'quality'"),
        (("degraded", "--set", "quality=0.5"), "masks.NAME=VALUE"),
        (("degraded", "--set", "recipe.steps=5"), "masks.NAME=VALUE"),
        (("degraded", "--set", "masks.quality=7"), "quality cannot be '7'"),
        (("files",), "masks.folder=DIR"),
        (("truth", "--protocol", "nothing"), "no protocol of the task balls called 'nothing'"),
    ],
)
def test_wrong_requests(call, plugin_words, words: tuple[str, ...], said: str) -> None:
    result = call("masks", "make", *words, "--task", "balls", *plugin_words)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())


def test_the_grid_and_the_preset_are_those_of_a_run(score) -> None:
    assert score("truth", "--set", "task.grid=20x20x20")["grid"] == [20, 20, 20]


def test_the_preset_sets_what_the_user_does_not(
    call, run, plugin_words, score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DegradedMasks, "quick", {"quality": 0.9})
    assert score("degraded")["configuration"] == {"quality": 0.9}
    assert score("degraded", "--preset", "paper")["configuration"] == {"quality": None}
    assert score("degraded", "--set", "masks.quality=0.8")["configuration"] == {"quality": 0.8}
    assert "quality = none (quick: 0.9)" in call("show", "masks", "degraded").stdout
    assert run("--method", "learner", "--steps", "1", "--masks", "degraded").exit_code == 0
    assert Path("runs/balls/learner + degraded").is_dir(), "what the preset sets is no change that a row is named after"
