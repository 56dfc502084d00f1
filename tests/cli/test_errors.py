"""Errors reach the user as one or two sentences and a status."""

import errno

import pytest
import torch
import typer
from typer.testing import CliRunner

from regbench.cli.errors import Commands
from regbench.errors import BusyError, DataError, UnknownNameError

RAISED = {
    "request": UnknownNameError("method", "voxelmorf", ["voxelmorph"]),
    "data": DataError(["a.nii.gz is spoiled.", "b.nii.gz is missing."]),
    "run": BusyError("Another process holds the run."),
    "memory": MemoryError("Unable to allocate 7 PiB"),
    "gpu": torch.OutOfMemoryError("CUDA out of memory."),
    "cpu": RuntimeError("DefaultCPUAllocator: no room."),
    "system": OSError(errno.ENAMETOOLONG, "File name too long", "yyy"),
    "bug": ZeroDivisionError("division by zero"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(cls=Commands, add_completion=False)

    @made.callback()
    def root() -> None:
        pass

    @made.command("run")
    def command(kind: str, number: int = 0) -> None:
        if kind in RAISED:
            raise RAISED[kind]
        raise typer.Exit(number)

    return made


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["run", "request"],
            2,
            "There is no method called 'voxelmorf'; did you mean 'voxelmorph'? Known: voxelmorph.\n",
        ),
        (["run", "data"], 2, "a.nii.gz is spoiled.\nb.nii.gz is missing.\n"),
        (["run", "memory"], 1, "The memory is not enough; try a smaller grid. Unable to allocate 7 PiB\n"),
        (["run", "gpu"], 1, "The memory is not enough; try a smaller grid. CUDA out of memory.\n"),
        (["run", "cpu"], 1, "The memory is not enough; try a smaller grid. DefaultCPUAllocator: no room.\n"),
        (["run", "run"], 1, "Another process holds the run.\n"),
        (["run", "system"], 1, "yyy cannot be used: File name too long; choose another, or see where with --debug.\n"),
        (
            ["run", "bug"],
            1,
            "Something went wrong that should not have: ZeroDivisionError: division by zero; "
            "run again with --debug to see where.\n",
        ),
        (["run", "nothing"], 0, ""),
        (["run", "nothing", "--number", "1"], 1, ""),
    ],
)
def test_status_and_sentence(app: typer.Typer, words: list[str], status: int, said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr, result.stdout) == (status, said, "")


def test_interruption_is_130(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["run", "interrupt"]).exit_code == 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nothing", "--number", "many"], "'--number'"),
        (["run", "nothing", "--unheard"], "No such option: --unheard"),
        (["unheard"], "No such command 'unheard'"),
        (["run"], "Missing argument"),
    ],
)
def test_usage_errors_are_wrong_requests(app: typer.Typer, words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "--help" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_word_that_is_not_among_those_to_choose_from(call) -> None:
    assert call("list", "method").stderr.partition(": ")[2].startswith("'method' is not one of 'tasks', 'methods'")


def test_a_group_without_a_command_prints_its_help_and_no_more(call) -> None:
    result = call("show")
    assert (result.exit_code, result.stderr) == (2, "")
    assert "Usage: regbench show" in result.stdout


@pytest.mark.parametrize("words", [["--debug", "run", "bug"], ["run", "bug", "--debug"]])
def test_debug_shows_the_traceback(app: typer.Typer, words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "raise RAISED[kind]" in result.stderr


def test_no_traceback_without_it(app: typer.Typer) -> None:
    for kind in RAISED:
        assert "Traceback" not in CliRunner().invoke(app, ["run", kind]).stderr
