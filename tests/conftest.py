"""Fixtures that all rooms share."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import torch

from regbench.api import Protocol, Task
from regbench.data import Cohort
from regbench.results import MachineRecord, MetricRecord

# Imports and compilation fall into whichever example comes first: no example's time says anything.
hypothesis.settings.register_profile("regbench", deadline=None)
hypothesis.settings.load_profile("regbench")


def pytest_configure(config: pytest.Config) -> None:
    """Test processes that share the cores take one each, and so does every program that they start."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


def _load(name: str, file: Path) -> ModuleType:
    """A helper module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_real_data = _load("regbench_tests_real_data", Path(__file__).with_name("real_data.py"))
_toy = _load("regbench_tests_toy", Path(__file__).with_name("toy.py"))


@pytest.fixture(scope="session")
def load_module() -> Callable[[str, Path], ModuleType]:
    """Load a file as a module of a name."""
    return _load


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
def a_machine() -> MachineRecord:
    """What runs that nobody ran were run on."""
    return MachineRecord(
        system="Linux", processor="A processor", cores=2, accelerator=None, python="3.11", torch="2.13", cuda=None,
        precision="float32", tf32=False, deterministic=True, git=None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def metric_records() -> Mapping[str, MetricRecord]:
    """How the columns of runs that nobody ran are read."""
    return {
        "dsc": MetricRecord(title="Dice", unit="%", higher_is_better=True, digits=1),
        "hd95": MetricRecord(title="HD95", unit="mm", higher_is_better=False, digits=2),
        "sdlogj": MetricRecord(title="SDlogJ", unit="", higher_is_better=False, digits=3),
        "hd95-l2r": MetricRecord(title="HD95 (l2r)", unit="voxel", higher_is_better=False, digits=2),
        "sdlogj-l2r": MetricRecord(title="SDlogJ (l2r)", unit="", higher_is_better=False, digits=3),
        "folding": MetricRecord(title="Folding", unit="%", higher_is_better=False, digits=2),
        "tre": MetricRecord(title="TRE", unit="mm", higher_is_better=False, digits=2),
    }


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
