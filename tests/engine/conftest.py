from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from regbench.api import Method, Task
from regbench.engine import Plan
from regbench.results import Store


@pytest.fixture(scope="session")
def toys(load_module: Callable[[str, Path], ModuleType]) -> ModuleType:
    """The engine's own toys (tests/engine/toys.py)."""
    return load_module("regbench_engine_toys", Path(__file__).with_name("toys.py"))


class Clock:
    """A clock that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The engine's clock, in the test's hands."""
    clock = Clock()
    for module in ("training.loop", "meter", "evaluation.evaluate"):
        monkeypatch.setattr(f"regbench.engine.{module}.time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def make_plan(toys: ModuleType, toy_task: Task, toy_folder: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(method: Method | None = None, **changes: Any) -> Plan:
        plan: Plan = toys.plan(toy_task, toy_folder, method or toys.ToyMethod(), cache=tmp_path / "cache", **changes)
        return plan

    return make
