"""`regbench leaderboard`: from records alone, and without torch."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_no_runs_are_no_error(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regbench_leaderboards.measured_runs", lambda: tmp_path)
    result = call("leaderboard")
    assert result.exit_code == 0
    assert "no runs" in result.stdout
    assert call("leaderboard", "--json").stdout == "[]\n"


def test_where_nothing_was_run_the_boards_of_the_release_are_shown(call, run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--method", "centroid", "--runs", "theirs").exit_code == 0
    monkeypatch.setattr("regbench_leaderboards.measured_runs", lambda: Path("theirs"))
    result = call("leaderboard")
    assert "Centroid" in result.stdout
    assert "came with regbench" in result.stderr
    assert "Centroid" in call("leaderboard", "--format", "md").stdout
    assert call("leaderboard", "--json").stdout == "[]\n"
    assert "Centroid" not in call("leaderboard", "--runs", "elsewhere").stdout


@pytest.fixture
def ran(run) -> None:
    assert run("--method", "centroid").exit_code == 0


@pytest.mark.usefixtures("ran")
def test_every_format(call, tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(call("leaderboard", "--format", "csv").stdout)))
    assert {line["row"] for line in lines} == {"Initial", "Centroid"}
    assert json.loads(call("leaderboard", "--format", "json").stdout) == json.loads(
        call("leaderboard", "--json").stdout
    )
    assert "| Centroid |" in call("leaderboard", "--format", "md").stdout
    assert "Learn2Reg ranking" in call("leaderboard", "--ranking", "l2r").stdout
    out = tmp_path / "board.md"
    assert call("leaderboard", "--format", "md", "--out", out).stdout == ""
    assert "| Centroid |" in out.read_text()


@pytest.mark.usefixtures("ran")
def test_tasks_are_chosen_by_name(call) -> None:
    assert "Centroid" in call("leaderboard", "--task", "balls").stdout
    result = call("leaderboard", "--task", "bals")
    assert result.exit_code == 2
    assert "did you mean 'balls'" in result.stderr


@pytest.mark.usefixtures("ran")
def test_a_spoiled_record_is_said_and_stops_nothing(call) -> None:
    [record] = Path("runs/balls/identity").glob("*/run.json")
    record.write_text("{")
    result = call("leaderboard")
    assert result.exit_code == 0
    assert "is no run record" in result.stderr
    assert "Centroid" in result.stdout


@pytest.mark.usefixtures("ran")
def test_boards_and_help_and_names_need_no_torch(tmp_path: Path) -> None:
    """Records are read, names are listed and help is given without the seconds that torch takes to import."""
    program = """
import contextlib, io, sys
from regbench.cli import app
for words in (["--help"], ["run", "--help"], ["list"], ["leaderboard"], ["leaderboard", "--format", "csv"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app(words)
    for module in ("torch", "monai", "pandas", "matplotlib"):
        assert module not in sys.modules, (module, words)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_rows_that_were_edited_by_hand_are_left_out_and_said(run, call) -> None:
    run("--method", "centroid")
    [folder] = Path("runs/balls/centroid").iterdir()
    cases = folder / "cases.csv"
    header, first, *rest = cases.read_text().splitlines()
    cases.write_text("\n".join([header, first.rsplit(",", 1)[0] + ",99.9", *rest, ""]))
    result = call("leaderboard")
    assert "cases.csv was changed after its run wrote it" in result.stderr
    assert "Initial" in result.stdout
    assert "Centroid" not in result.stdout
