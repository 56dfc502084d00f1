"""`regbench run --jobs`: several runs at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from regbench.cli.jobs import side_by_side
from regbench.results import Store

PATIENCE_SECONDS = 300.0

WORKS = """
import os
import signal
import time
from pathlib import Path
from regbench.engine.training.interrupt import interruption

def name(place: int) -> str:
    if place == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done {place}"

def hold(place: int) -> None:
    with interruption() as stop:
        Path(f"{place}.pid").write_text(f"{os.getpid()}")
        while not stop.wanted:
            time.sleep(0.05)
    Path(f"{place}.saved").touch()
    raise KeyboardInterrupt

def stay(place: int) -> None:
    with interruption() as stop:
        Path(f"{place}.pid").write_text(f"{os.getpid()}")
        while not stop.wanted:
            time.sleep(0.05)
        Path(f"{place}.asked").touch()
        time.sleep(600)
"""


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that other processes can import, too."""
    (tmp_path / "works_of_jobs.py").write_text(WORKS)
    monkeypatch.syspath_prepend(tmp_path)
    return "works_of_jobs"


def wait_until(what: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def begun(script: str, folder: Path) -> subprocess.Popen[str]:
    """A script at work in a folder, in a session of its own as that of a terminal, with all that it prints."""
    (folder / "parent.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def lives(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", f"{pid}"], capture_output=True, text=True)  # noqa: S603, S607
    return state.stdout.strip()[:1] not in ("", "Z")


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
    learner = tmp_path / "plugins" / "learner.py"
    told = learner.read_text().replace("u = self.disp", "Path(f'{os.getpid()}.step').touch()\n        u = self.disp")
    learner.write_text(f"import os\nfrom pathlib import Path\n{told}")
    words = ["run", "--task", "balls", *plugin_words, "--method", "learner", "--seed", "0", "--seed", "1"]
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", "from regbench.cli import app; app()", *words, "--steps", "1000000", "--jobs", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: len({file.stem for file in tmp_path.glob("*.step")} - {f"{process.pid}"}) == 2, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "goes on from the last checkpoint" in output
    assert "Traceback" not in output
    found = statuses()
    assert {status for name, status in found.items() if name.startswith("learner")} == {"interrupted"}
    assert len(list(tmp_path.glob("runs/balls/learner/*/state.pt"))) == 2


def test_a_killed_process_costs_its_own_job_only(works: str) -> None:
    results = dict(side_by_side(import_module(works).name, 4, 2, lost="lost"))
    assert results == {0: "lost", 1: "done 1", 2: "done 2", 3: "done 3"}


def test_jobs_whose_parent_was_killed_save_and_end_by_themselves(works: str, tmp_path: Path) -> None:
    script = (
        "import works_of_jobs\n"
        "from regbench.cli.jobs import side_by_side\n"
        "if __name__ == '__main__':\n"
        "    list(side_by_side(works_of_jobs.hold, 4, 2, lost=None))\n"
    )
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, text=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, parent)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    wait_until(lambda: not any(lives(pid) for pid in pids))
    assert {file.name for file in tmp_path.glob("*.saved")} == {"0.saved", "1.saved"}
    assert {file.name for file in tmp_path.glob("*.pid")} == {"0.pid", "1.pid"}


def test_ctrl_c_while_the_processes_begin_is_not_told_by_each_of_them(works: str, tmp_path: Path) -> None:
    script = (
        "import works_of_jobs\n"
        "from regbench.cli.jobs import side_by_side\n"
        "if __name__ == '__main__':\n"
        "    print('begun', flush=True)\n"
        "    try:\n"
        "        list(side_by_side(works_of_jobs.hold, 2, 2, lost=None))\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    parent = begun(script, tmp_path)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "begun\n"
    time.sleep(0.5)
    os.killpg(parent.pid, signal.SIGINT)
    output, _ = parent.communicate(timeout=PATIENCE_SECONDS)
    assert output == "interrupted\n"


def test_a_second_ctrl_c_does_not_wait_for_what_they_are_at(works: str, tmp_path: Path) -> None:
    script = (
        "import works_of_jobs\n"
        "from regbench.cli.jobs import side_by_side\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        list(side_by_side(works_of_jobs.stay, 2, 2, lost=None))\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    parent = begun(script, tmp_path)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, parent)
        os.kill(parent.pid, signal.SIGINT)
        wait_until(lambda: len(list(tmp_path.glob("*.asked"))) == 2, parent)
        os.kill(parent.pid, signal.SIGINT)
        output, _ = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert output == "interrupted\n"
    assert not any(lives(int(file.read_text())) for file in tmp_path.glob("*.pid"))
