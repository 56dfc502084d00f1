"""`regbench run` on a toy task, from its words to its board."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from regbench.results import RunRecord, Store


def records(root: Path = Path("runs")) -> dict[str, RunRecord]:
    return {f"{record.row}/{record.seed}": record for _, record in Store(root).list()}


def test_a_run_prints_its_board_and_leaves_its_records(run) -> None:
    result = run("--method", "centroid")
    assert result.exit_code == 0, result.output
    assert "phantoms (no --data given)" in result.stdout
    assert result.stdout.index("Initial") < result.stdout.index("Centroid")
    for head in ("DSC", "HD95", "SDlogJ", "Fold", "TRE", "s/pair", "GiB", "Ball", "Core"):
        assert head in result.stdout
    found = records()
    assert set(found) == {"identity/0", "centroid/0"}
    assert {record.status for record in found.values()} == {"done"}
    assert {record.data.kind for record in found.values()} == {"phantom"}


def test_what_is_done_is_not_run_again_unless_forced(run) -> None:
    run("--method", "centroid")
    first = records()["centroid/0"].finished
    time.sleep(1.1)  # the record counts whole seconds
    assert "done before in" in run("--method", "centroid").stdout
    assert records()["centroid/0"].finished == first
    run("--method", "centroid", "--force")
    assert records()["centroid/0"].finished != first


def test_a_finished_run_whose_rows_were_changed_is_not_well(run) -> None:
    run("--method", "centroid")
    (cases,) = Path("runs").glob("*/centroid/*/cases.csv")
    cases.write_text(cases.read_text().replace("0", "1"))
    result = run("--method", "centroid")
    assert result.exit_code == 1
    assert "cases.csv was changed after its run wrote it" in result.stderr
    assert run("--method", "identity").exit_code == 0


def test_a_failing_method_stops_no_other(run) -> None:
    result = run("--method", "failing", "--method", "centroid")
    assert result.exit_code == 1
    assert "it cannot count" in result.stderr
    assert "Failing, seed 0: failed" in result.stdout
    assert records()["centroid/0"].status == "done"
    assert records()["failing/0"].status == "failed"


def test_training_takes_its_settings(run) -> None:
    words = ["--method", "learner", "--steps", "3", "--seed", "0", "--seed", "1", "--set", "width=3"]
    result = run(*words, "--set", "recipe.learning_rate=5e-4", "--set", "task.grid=16x12x10")
    assert result.exit_code == 0, result.output
    found = records()
    rows = {name.split("/")[0] for name in found}
    assert rows == {"identity", "learner[width=3,recipe.learning_rate=0.0005]"}
    record = found["learner[width=3,recipe.learning_rate=0.0005]/1"]
    assert record.training is not None
    assert record.training.steps_done == 3
    assert record.protocol.grid.shape == (16, 12, 10)
    assert record.method.configuration == {"width": 3}
    assert "identity/1" not in found, "what is not trained runs once"


def test_a_setting_of_the_task_makes_another_board_and_is_known_to_whoever_opens_the_run(
    run, call, plugin_words: Sequence[str]
) -> None:
    run("--method", "centroid")
    (usual,) = (r for r in records().values() if r.row == "centroid")
    result = run("--method", "centroid", "--set", "task.core=0.2")
    assert result.exit_code == 0, result.output
    by_settings = {json.dumps(r.data.settings): r for _, r in Store(Path("runs")).list() if r.row == "centroid"}
    assert by_settings.keys() == {"{}", '{"core": 0.2}'}
    assert by_settings["{}"].run_id == usual.run_id != by_settings['{"core": 0.2}'].run_id
    printed = call("leaderboard", "--format", "md").stdout
    assert printed.count("## Balls · phantoms") == 2
    assert "task.core=0.2" in printed
    verdict = call("verify", by_settings['{"core": 0.2}'].run_id, *plugin_words)
    assert verdict.exit_code == 0, verdict.output


def test_settings_of_one_method_leave_the_others_alone(run) -> None:
    result = run("--method", "centroid", "--method", "learner", "--steps", "1", "--set", "centroid.power=1")
    assert result.exit_code == 0, result.output
    assert "centroid[power=1.0]/0" in records()
    result = run("--method", "centroid", "--method", "learner", "--steps", "1", "--set", "width=4")
    assert result.exit_code == 0, result.output
    assert {"centroid/0", "learner[width=4]/0"} <= set(records())


def test_masks_give_a_row_of_their_own(run) -> None:
    result = run("--method", "learner", "--method", "centroid", "--steps", "1", "--masks", "none", "--masks", "truth")
    assert result.exit_code == 0, result.output
    found = records()
    assert set(found) == {"identity/0", "centroid/0", "learner/0", "learner + truth/0"}
    assert found["learner + truth/0"].masks is not None
    assert "Learner + truth" in result.stdout


def test_what_is_asked_for_twice_is_run_once(run) -> None:
    result = run("--method", "learner", "--steps", "1", *("--seed", "0", "--masks", "none") * 2, "--force")
    assert result.exit_code == 0, result.output
    assert "2/2 learner, seed 0" in result.stdout


def test_real_scans_are_another_board(run, balls_folder: Path) -> None:
    run("--method", "centroid")
    result = run("--method", "centroid", "--data", balls_folder)
    assert result.exit_code == 0, result.output
    assert "real scans" in result.stdout
    assert "Synthetic" not in result.stdout
    kinds = [record.data.kind for _, record in Store(Path("runs")).list()]
    assert sorted(kinds) == ["phantom", "phantom", "real", "real"]
    assert "protocol all r1" in result.stdout


def test_spoiled_scans_are_a_wrong_request(run, balls_folder: Path) -> None:
    (balls_folder / "c2.nii.gz").write_bytes(b"nothing")
    (balls_folder / "c5_labels.nii.gz").unlink()
    result = run("--method", "centroid", "--data", balls_folder)
    assert result.exit_code == 2
    assert "c2.nii.gz" in result.stderr
    assert "c5_labels.nii.gz" in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_recipe_is_refused_before_phantoms_are_made(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("regbench.cli.plans.phantoms_of")
    result = run("--method", "learner", "--set", "recipe.steps=0")
    assert result.exit_code == 2, result.output
    assert "The recipe's steps is above 0" in result.stderr


def test_save_fields(run) -> None:
    run("--method", "centroid", "--save-fields")
    assert len(list(Path("runs").glob("balls/centroid/*/fields/*.nii.gz"))) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "centriod"], "did you mean 'centroid'"),
        (["--method", "centroid", "--masks", "thruth"], "did you mean 'truth'"),
        (["--method", "centroid", "--protocol", "none"], "no protocol of the task balls called 'none'"),
        (["--method", "centroid", "--protocol", "all"], "give them with --data DIR"),
        (["--method", "centroid", "--set", "powder=1"], "did you mean 'power'"),
        (["--method", "centroid", "--set", "power=strong"], "power cannot be 'strong'"),
        (["--method", "centroid", "--set", "task.size=1"], "no field of Balls called 'size'"),
        (["--method", "centroid", "--set", "task.gird=20x20x20"], "did you mean 'grid'"),
        (["--method", "centroid", "--set", "task.grid=2x2"], "three numbers"),
        (["--method", "centroid", "--set", "power"], "NAME=VALUE"),
        (["--method", "learner", "--set", "recipe.lerning_rate=1"], "did you mean 'learning_rate'"),
        (["--method", "learner", "--steps", "5", "--budget", "5m"], "exclude each other"),
        (["--method", "learner", "--budget", "soon"], "--budget takes a time"),
        (["--method", "learner", "--steps", "0"], "--steps"),
        (["--method", "centroid", "--device", "tpu"], "no device called 'tpu'"),
        (["--method", "centroid", "--data", "nowhere"], "nowhere"),
        (["--method", "centroid", "--preset", "slow"], "--preset"),
        (["--method", "centroid", "--plugin", "nothing.py"], "nothing.py cannot be read"),
        ([], "Missing option '--method'"),
    ],
)
def test_wrong_requests_run_nothing(run, words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert records() == {}


def test_an_interruption_says_that_the_run_resumes(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("regbench.cli.running.run_plan", interrupted)
    result = run("--method", "centroid")
    assert result.exit_code == 130
    assert "goes on from the last checkpoint" in result.stderr


def test_a_bug_is_one_sentence(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("regbench.cli.running.run_plan", broken)
    result = run("--method", "centroid")
    assert result.exit_code == 1
    assert "run again with --debug" in result.stderr
    assert "Traceback" in run("--method", "centroid", "--debug").stderr


def test_boards_of_earlier_runs_of_the_same_kind_are_shown(run) -> None:
    run("--method", "centroid")
    result = run("--method", "learner", "--steps", "1")
    assert "Centroid" in result.stdout
    assert "Learner" in result.stdout


def test_leaderboard_after_a_run(run, call) -> None:
    run("--method", "centroid")
    text = call("leaderboard").stdout
    for part in ("Overview", "DSC of each structure", "uncertainty", "Further metrics", "How each row was made"):
        assert part in text
    [board] = json.loads(call("leaderboard", "--json").stdout)
    assert [row["name"] for row in board["rows"]] == ["Initial", "Centroid"]
