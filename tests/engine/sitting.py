"""One sitting of a run in a process of its own, for tests that kill it; run by runpy with `arguments` as a global."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from regbench.api import Silent
from regbench.engine import run
from regbench.results import Store

arguments: dict[str, Any]


class Shouting(Silent):
    """Creates a file when the training begins."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def started(self, phase: Any, total: float | None, unit: str) -> None:
        if phase == "train":
            self.file.touch()


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    torch.set_num_threads(1)
    here = Path(__file__).parent
    toy = load("regbench_tests_toy", here.parent / "toy.py")
    toys = load("regbench_engine_toys", here / "toys.py")
    method = toys.ToyMethod(**arguments["method"])
    plan = toys.plan(toy.ToyTask(), Path(arguments["folder"]), method, **arguments["changes"])
    run(plan, Store(Path(arguments["store"])), Shouting(Path(arguments["shout"])))
