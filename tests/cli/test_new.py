"""`regbench new method`: a package that works as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_package_installs_passes_its_check_and_runs(call, tmp_path: Path) -> None:
    result = call("new", "method", "my-method", "--dir", tmp_path / "made")
    assert result.exit_code == 0, result.output
    package = tmp_path / "made" / "my-method"
    assert str(package) in result.stdout
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(site), str(package)], check=True)  # noqa: S603 - a fixed command line
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    balls = Path(__file__).parents[1] / "plugins" / "toybox" / "src" / "toybox" / "balls.py"
    program = f"""
import subprocess, sys
from typer.testing import CliRunner
from regbench.cli import app
run = ["run", "--task", "balls", "--plugin", {str(balls)!r}, "--method", "my-method", "--steps", "3"]
for words in (["check", "method", "my-method"], run, [*run, "--set", "channels=4"]):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
assert "MyMethod[channels=4]" in result.output
"""
    done = subprocess.run(  # noqa: S603 - a fixed command line
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    assert b"1 passed" in subprocess.run(tests, env=environment, capture_output=True, check=False).stdout  # noqa: S603


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Method", "lower case with hyphens"),
        ("class", "lower case with hyphens"),
        ("../up", "lower case with hyphens"),
        ("identity", "There is a method called 'identity' already"),
    ],
)
def test_names_that_cannot_be_used(call, name: str, said: str) -> None:
    result = call("new", "method", name)
    assert result.exit_code == 2
    assert said in result.stderr


def test_nothing_is_overwritten(call, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = call("new", "method", "mine")
    assert result.exit_code == 2
    assert "exists" in result.stderr
