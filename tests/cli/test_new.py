"""`regbench new`: packages that work as they stand, each by itself and all together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regbench.registry import GROUPS

OWN = {kind: f"own-{kind}" for kind in GROUPS}
ON_OWN_TASK = ["--task", "own-task", "--set", "task.grid=24x20x22"]
SHOULD_WORK = [
    *(["check", kind, name] for kind, name in OWN.items()),
    ["run", *ON_OWN_TASK, "--method", "own-method", "--set", "channels=4", "--steps", "3"],
    ["leaderboard"],
    ["masks", "score", "own-masks", *ON_OWN_TASK, "--set", "masks.least_share=0.5"],
]
PROGRAM = f"""
from typer.testing import CliRunner
from regbench.cli import app
for words in {SHOULD_WORK!r}:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (words, result.output)
    print(result.stdout)
"""


def test_the_packages_install_pass_their_checks_and_run(call, tmp_path: Path) -> None:
    packages = [str(tmp_path / "made" / name) for name in OWN.values()]
    for (kind, name), package in zip(OWN.items(), packages, strict=True):
        result = call("new", kind, name, "--dir", tmp_path / "made")
        assert result.exit_code == 0, result.output
        assert package in result.stdout
    files = [file.read_text() for file in (tmp_path / "made").rglob("*") if file.is_file()]
    assert len(files) == 4 * len(GROUPS)
    assert not [text for text in files if "$" in text]
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *packages], check=True)  # noqa: S603 - a fixed command line
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603 - a fixed command line
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for printed in ("OwnMethod[channels=4]", "OwnMetric", "OwnMasks"):
        assert printed in done.stdout
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *packages]
    done = subprocess.run(tests, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert f"{len(GROUPS)} passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("method", "My Method", "lower case with hyphens, such as my-method"),
        ("task", "my_task", "lower case with hyphens, such as my-task"),
        ("method", "all", "'all' means something else already; choose another name, such as my-method"),
        ("masks", "none", "'none' means something else already"),
        ("method", "network", "'network' means something else already"),
        ("task", "percentiles", "'percentiles' means something else already"),
        ("task", "../up", "lower case with hyphens"),
        ("masks", "My Masks", "A mask source's name is lower case with hyphens, such as my-masks"),
        ("metric", "baselines", "There is a package called 'regbench_baselines' already"),
        ("method", "identity", "There is a method called 'identity' already"),
        ("task", "abdomen", "There is a task called 'abdomen' already"),
    ],
)
def test_names_that_cannot_be_used(call, kind: str, name: str, said: str) -> None:
    result = call("new", kind, name)
    assert result.exit_code == 2
    assert said in result.stderr


def test_nothing_is_overwritten(call, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = call("new", "method", "mine")
    assert result.exit_code == 2
    assert "exists" in result.stderr
