"""Fixtures that all rooms share."""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import torch

from regbench.api import Protocol, Task
from regbench.data import Cohort

# Imports and compilation fall into whichever example comes first: no example's time says anything.
hypothesis.settings.register_profile("regbench", deadline=None)
hypothesis.settings.load_profile("regbench")


def pytest_configure(config: pytest.Config) -> None:
    """Test processes that share the cores take one each, and so does every program that they start."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


def _beside(name: str) -> ModuleType:
    """A helper module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"regbench_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_real_data = _beside("real_data")
_toy = _beside("toy")


@pytest.fixture(scope="session")
def abdomen_ct_folder() -> Path:
    """The real abdominal CT sample; the test is skipped where it is absent."""
    return _real_data.abdomen_ct()


@pytest.fixture(scope="session")
def acdc_folder() -> Path:
    """The real cardiac MR sample; the test is skipped where it is absent."""
    return _real_data.acdc()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("REGBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The maker of toy cohorts (tests/toy.py): blobs, write_abdomen, write_acdc, protocol, cohort, ToyTask."""
    return _toy


@pytest.fixture(scope="session")
def toy_protocol() -> Protocol:
    """Two training cases, two test cases, three labels, 24×20×28 voxels, pairs in both directions."""
    return _toy.protocol()


@pytest.fixture(scope="session")
def toy_cohort() -> Cohort:
    """The toy protocol's four cases in memory, with labels and landmarks; no test may write to it."""
    return _toy.cohort()


@pytest.fixture(scope="session")
def toy_task() -> Task:
    """A task whose only protocol is the toy protocol (named phantom), and which writes its own phantom cohort."""
    return _toy.ToyTask()


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory, toy_task: Task, toy_protocol: Protocol) -> Path:
    """The toy task's cohort on disk; read only."""
    folder = tmp_path_factory.mktemp("toy")
    toy_task.phantom(folder, cases=4, seed=0, shape=toy_protocol.grid.shape)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works in the tests although a job in the background, as a CI may be, is started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
