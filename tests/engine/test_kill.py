"""What a kill -9 leaves behind, at any moment."""

import csv
import itertools
import multiprocessing
import os
import random
import runpy
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from regbench.api import Task
from regbench.data.files import atomic
from regbench.engine import Plan, run
from regbench.errors import BusyError, StorageError
from regbench.results import RunFolder, RunRecord, Store

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "regbench.engine"])
SLOW = {"what": "slow"}


def sitting(folder: Path, store: Path, shout: Path, cache: Path) -> ForkServerProcess:
    """A process that has begun to train the slow toy when its file is there."""
    arguments = {
        "folder": str(folder),
        "store": str(store),
        "shout": str(shout),
        "method": SLOW,
        "changes": {"checkpoint_seconds": 0.0, "cache": cache},
    }
    script = Path(__file__).with_name("sitting.py")
    process = CONTEXT.Process(
        target=runpy.run_path,
        args=(str(script),),
        kwargs={"init_globals": {"arguments": arguments}, "run_name": "__main__"},
    )
    process.start()
    return process


def wait_for(path: Path, process: ForkServerProcess) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.is_alive(), f"ended with {process.exitcode}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outcome(folder: RunFolder) -> dict[str, Any]:
    """All of a run that must not depend on its interruptions."""
    with folder.history.open(newline="") as file:
        history = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    return {
        "weights": folder.weights.read_bytes(),
        "best": folder.best.read_bytes(),
        "cases": folder.cases.read_bytes(),
        "history": history,
    }


def only_run(store: Store) -> tuple[RunFolder, RunRecord]:
    (found,) = store.list()
    return found


def test_killed_at_random_moments_it_ends_in_the_same_bits(toy_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    process = sitting(toy_folder, whole.root, tmp_path / "shout", cache)
    process.join(60)
    assert process.exitcode == 0
    moments = random.Random(0)  # noqa: S311
    kills = 0
    for attempt in range(5):
        shout = tmp_path / f"shout{attempt}"
        process = sitting(toy_folder, killed.root, shout, cache)
        wait_for(shout, process)
        time.sleep(moments.uniform(0.0, 0.25))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert only_run(killed)[1].status == "interrupted"
    assert kills == 5
    process = sitting(toy_folder, killed.root, tmp_path / "shout", cache)
    process.join(60)
    folder, record = only_run(killed)
    assert (record.status, process.exitcode) == ("done", 0)
    assert outcome(folder) == outcome(only_run(whole)[0])
    assert record.files == folder.digests()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        ".lock",
        "best.safetensors",
        "cases.csv",
        "history.csv",
        "run.json",
        "weights.safetensors",
    ]


def test_two_processes_that_want_the_same_run(
    toy_folder: Path, toy_task: Task, toys: ModuleType, tmp_path: Path
) -> None:
    store, cache = Store(tmp_path / "runs"), tmp_path / "cache"
    process = sitting(toy_folder, store.root, tmp_path / "shout", cache)
    wait_for(tmp_path / "shout", process)
    assert only_run(store)[1].status == "running"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    plan = toys.plan(toy_task, toy_folder, toys.ToyMethod(**SLOW), cache=cache)
    with pytest.raises(BusyError, match=f"number {process.pid}"):
        run(plan, store)
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    folder, record = only_run(store)
    assert record.status == "done"
    finished = folder.weights.stat().st_mtime_ns
    assert run(plan, store) == record
    assert folder.weights.stat().st_mtime_ns == finished


class Killed(BaseException):
    """As far as the engine can see, the end of the process."""


FULL = OSError(28, os.strerror(28))


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], AbstractContextManager[None]]:
    """Lets the n-th moment of all writes fail: odd ones before a file takes its place, even ones right after."""

    @contextmanager
    def failing(last: int, error: BaseException) -> Iterator[None]:
        moments = itertools.count(1)
        flush = atomic.flush

        def counted(path: Path) -> None:
            if next(moments) == last:
                raise error
            flush(path)

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "flush", counted)
            yield

    return failing


@pytest.mark.parametrize(("error", "step"), [(Killed(), 1), (FULL, 2)], ids=["killed", "disk full"])
def test_failing_at_every_write(
    make_plan: Callable[..., Plan],
    toys: ModuleType,
    tmp_path: Path,
    fail_at: Callable[[int, BaseException], AbstractContextManager[None]],
    error: BaseException,
    step: int,
) -> None:
    recipe = replace(toys.ToyMethod().training("quick"), steps=2)
    plan = make_plan(recipe=recipe, checkpoint_seconds=0.0)
    whole = Store(tmp_path / "whole")
    run(plan, whole)
    expected = outcome(only_run(whole)[0])
    raised = StorageError if error is FULL else Killed
    for moment in itertools.count(1, step):
        store = Store(tmp_path / f"failing{moment}")
        try:
            with fail_at(moment, error):
                run(plan, store)
        except raised:
            listing = store.list()
            assert listing.faults == ()
            assert [record.status for _, record in listing] in ([], ["interrupted"], ["done"])
        else:
            break
        assert run(plan, store).status == "done"
        assert outcome(only_run(store)[0]) == expected, moment
    records, checkpoints, others = 3, 3, 3
    assert moment - 1 == 2 * (records + 2 * checkpoints + others)
