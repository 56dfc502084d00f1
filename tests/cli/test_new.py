"""`regbench new`: a package that works as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BALLS = Path(__file__).parents[1] / "plugins" / "toybox" / "src" / "toybox" / "balls.py"
METHOD_RUN = ["run", "--task", "balls", "--plugin", str(BALLS), "--method", "my-own", "--steps", "3"]
TASK_RUN = ["run", "--task", "my-own", "--method", "identity"]
SHOULD_WORK = {
    "method": [["check", "method", "my-own"], METHOD_RUN, [*METHOD_RUN, "--set", "channels=4"]],
    "task": [["check", "task", "my-own"], [*TASK_RUN, "--set", "task.grid=24x20x22"]],
}
PRINTED = {"method": "MyOwn[channels=4]", "task": "Initial"}


@pytest.mark.parametrize("kind", ["method", "task"])
def test_the_package_installs_passes_its_check_and_runs(call, tmp_path: Path, kind: str) -> None:
    result = call("new", kind, "my-own", "--dir", tmp_path / "made")
    assert result.exit_code == 0, result.output
    package = tmp_path / "made" / "my-own"
    assert str(package) in result.stdout
    assert all("$" not in file.read_text() for file in package.rglob("*") if file.is_file())
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(site), str(package)], check=True)  # noqa: S603 - a fixed command line
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    program = f"""
from typer.testing import CliRunner
from regbench.cli import app
for words in {SHOULD_WORK[kind]!r}:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
assert {PRINTED[kind]!r} in result.output
"""
    done = subprocess.run(  # noqa: S603 - a fixed command line
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    assert b"1 passed" in subprocess.run(tests, env=environment, capture_output=True, check=False).stdout  # noqa: S603


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("method", "My Method", "lower case with hyphens, such as my-method"),
        ("task", "my_task", "lower case with hyphens, such as my-task"),
        ("method", "class", "lower case with hyphens"),
        ("task", "../up", "lower case with hyphens"),
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
