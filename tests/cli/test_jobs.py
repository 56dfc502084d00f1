"""`regbench run --jobs`: several runs at a time."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from regbench.results import Store

PATIENCE_SECONDS = 300.0


def statuses() -> dict[str, str]:
    return {f"{record.row}/{record.seed}": record.status for _, record in Store(Path("runs")).list()}


def test_runs_side_by_side_are_those_one_after_the_other(run) -> None:
    words = ["--method", "learner", "--steps", "2", "--seed", "0", "--seed", "1"]
    alone = run(*words, "--runs", "alone")
    together = run(*words, "--jobs", "2")
    assert (alone.exit_code, together.exit_code) == (0, 0), together.output
    assert "3 runs, 2 at a time" in together.stdout
    rows = [
        {record.run_id: (folder.path / "cases.csv").read_text() for folder, record in Store(Path(root)).list()}
        for root in ("alone", "runs")
    ]
    assert rows[0].keys() == rows[1].keys()
    assert len(rows[0]) == 3
    assert "Learner" in together.stdout[together.stdout.index("Initial") :]


def test_a_failure_is_told_and_stops_no_other(run) -> None:
    result = run("--method", "failing", "--method", "centroid", "--jobs", "2")
    assert result.exit_code == 1
    assert "it cannot count" in result.stderr
    assert statuses() == {"identity/0": "done", "centroid/0": "done", "failing/0": "failed"}


def test_ctrl_c_stops_all_of_them_with_their_checkpoints(run, plugin_words: Sequence[str], tmp_path: Path) -> None:
    words = ["run", "--task", "balls", *plugin_words, "--method", "learner", "--seed", "0", "--seed", "1"]
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", "from regbench.cli import app; app()", *words, "--steps", "3000", "--jobs", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(list(tmp_path.glob("runs/balls/learner/*/history.csv"))) < 2:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the trainings did not begin"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "goes on from the last checkpoint" in output
    assert "Traceback" not in output
    found = statuses()
    assert {status for name, status in found.items() if name.startswith("learner")} == {"interrupted"}
