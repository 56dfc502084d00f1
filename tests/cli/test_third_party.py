"""A distribution of somebody else's, built and installed: its plugins are listed, shown, checked and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOYBOX = Path(__file__).parents[1] / "plugins" / "toybox"
CLASH = """Metadata-Version: 2.1
Name: otherbox
Version: 1.0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that it is installed into."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(folder), str(TOYBOX)], check=True)  # noqa: S603 - a fixed command line
    return folder


@pytest.fixture
def regbench(site: Path, tmp_path: Path):
    """Call several commands in one other process, with the distribution on its path: exit status, stdout, stderr."""

    def calls(*commands: list[str], path: str = "") -> list[tuple[int, str, str]]:
        program = """
import json, sys
from typer.testing import CliRunner
from regbench.cli import app
results = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.stdout, result.stderr] for result in results]))
"""
        environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{path}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(  # noqa: S603 - a fixed command line
            [sys.executable, "-c", program, json.dumps(commands)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [(status, out, err) for status, out, err in json.loads(done.stdout.splitlines()[-1])]

    return calls


def test_its_plugins_are_listed_shown_and_run(regbench, tmp_path: Path) -> None:
    listed, shown, metric, doctor, ran, board = regbench(
        ["list", "methods", "--json"],
        ["show", "method", "centroid", "--json"],
        ["show", "metric", "mean-shift"],
        ["doctor"],
        ["run", "--task", "balls", "--method", "centroid"],
        ["leaderboard", "--format", "csv"],
    )
    entries = {entry["name"]: entry for entry in json.loads(listed[1])}
    assert entries["centroid"]["from"] == "toybox 0.3"
    assert "RuntimeError: the toy is broken" in entries["crooked"]["broken"]
    assert "toybox" in entries["crooked"]["broken"]
    assert json.loads(shown[1])["fields"][0]["meaning"] == "brighter voxels count more."
    assert "Mean shift" in metric[1]
    assert doctor[0] == 1
    assert "the toy is broken" in " ".join(doctor[1].split())
    assert ran[0] == 0, ran
    assert "Mean shift" in ran[1], "the metric of the other distribution is measured, and printed"
    assert "mean-shift" in board[1]
    [record] = (tmp_path / "runs/balls/centroid").glob("*/run.json")
    method = json.loads(record.read_text())["method"]
    assert (method["distribution"], method["version"]) == ("toybox", "0.3")


def test_a_broken_plugin_stops_nothing_but_itself(regbench) -> None:
    named, every = regbench(
        ["run", "--task", "balls", "--method", "crooked"],
        ["list", "methods"],
    )
    assert named[0] == 2
    assert "The method 'crooked' of toybox does not import: RuntimeError: the toy is broken" in named[2]
    assert every[0] == 0
    assert "Centroid" in every[1]
    assert "broken: The method 'crooked'" in every[1]


def test_two_of_one_name_are_an_error_that_names_both(regbench, tmp_path: Path) -> None:
    other = tmp_path / "other" / "otherbox-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(CLASH)
    (other / "entry_points.txt").write_text("[regbench.methods]\ncentroid = otherbox:Centroid\n")
    ran, listed = regbench(
        ["run", "--task", "balls", "--method", "centroid"], ["list", "methods"], path=str(tmp_path / "other")
    )
    assert ran[0] == 2
    assert "toybox" in ran[2]
    assert "otherbox" in ran[2]
    assert listed[0] == 0
    assert "broken: Two methods are called 'centroid'" in listed[1]
