import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from regbench.api import Method, Task
from regbench.engine import Plan
from regbench.results import Store


def _load_toys() -> ModuleType:
    spec = importlib.util.spec_from_file_location("regbench_engine_toys", Path(__file__).with_name("toys.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_toys = _load_toys()


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """The engine's own toys (tests/engine/toys.py)."""
    return _toys


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
def make_plan(toy_task: Task, toy_folder: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(method: Method | None = None, **changes: Any) -> Plan:
        plan: Plan = _toys.plan(toy_task, toy_folder, method or _toys.ToyMethod(), cache=tmp_path / "cache", **changes)
        return plan

    return make
