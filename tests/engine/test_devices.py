import mmap
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from regbench.engine import machine, resolve_device, usual_precision
from regbench.engine.devices import _commit
from regbench.engine.meter import MemoryMeter, Pace, Stopwatch
from regbench.engine.precision import convolves_in_bfloat16
from regbench.errors import DeviceError

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"'{name}'.*--device cpu"):
            resolve_device(name)


def test_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == CPU
    with pytest.raises(DeviceError, match="cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "CPU", "cpu:0"])
def test_no_such_device(name: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_facts_of_this_machine(toys: ModuleType) -> None:
    facts = machine(CPU, "float32", toys.ToyMethod)
    assert facts.torch == torch.__version__
    assert facts.cores >= 1
    assert facts.processor
    assert (facts.accelerator, facts.cuda, facts.tf32, facts.deterministic) == (None, None, False, True)
    assert usual_precision(CPU) == "float32"


def test_bfloat16_is_tried_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert convolves_in_bfloat16(CPU)
    right = torch.nn.functional.conv3d

    def wrong(scan: torch.Tensor, weight: torch.Tensor, padding: int) -> torch.Tensor:
        return right(scan, weight, padding=padding) * (1.1 if scan.dtype == torch.bfloat16 else 1)

    def impossible(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    for broken in (wrong, impossible):
        monkeypatch.setattr("torch.nn.functional.conv3d", broken)
        assert not convolves_in_bfloat16(CPU)


def test_facts_of_a_gpu_by_torchs_newer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch refuses to say by the older names what was set by the newer ones."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has the older names only")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    gpu = torch.device("cuda", 0)
    assert machine(gpu, "float32").tf32
    try:
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        assert not machine(gpu, "float32").tf32
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert machine(gpu, "float32").tf32
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.conv.fp32_precision = "tf32"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def test_the_commit_of_a_methods_file(tmp_path: Path, toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text("first")
    monkeypatch.setattr(toys, "__file__", str(file))
    assert _commit(toys.ToyMethod) is None
    git(tmp_path, "init", "-q")
    assert _commit(toys.ToyMethod) is None, "the file is not tracked"
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert _commit(toys.ToyMethod) == head
    file.write_text("second")
    assert _commit(toys.ToyMethod) == f"{head}+"


def mapped(mebibytes: int) -> mmap.mmap:
    """Memory of the system's own, every page in use; the allocator might hand out pages that it has kept."""
    memory = mmap.mmap(-1, mebibytes * 2**20)
    for page in range(0, len(memory), mmap.PAGESIZE):
        memory[page] = 1
    return memory


def test_the_peak_is_that_since_the_meter_was_made() -> None:
    restart = Path("/proc/self/clear_refs")
    if not restart.exists():
        pytest.skip("this system cannot restart its count of a process's peak")
    mapped(160).close()
    meter = MemoryMeter(CPU)
    before = meter.peak_mib
    held = mapped(80)
    assert 70 < meter.peak_mib - before < 90
    held.close()
    assert meter.peak_mib - before > 70
    assert MemoryMeter(CPU).peak_mib < before + 20


def test_a_stopwatch_pauses(clock: Any) -> None:
    watch = Stopwatch(CPU, seconds=10.0)
    clock.sleep(0.5)
    with watch.paused():
        clock.sleep(4.0)
        assert watch.seconds == 10.5
    clock.sleep(0.25)
    assert watch.seconds == 10.75


def test_the_pace_is_told_only_so_often(clock: Any) -> None:
    pace = Pace(0.25)
    assert pace.due(1)
    assert pace.per_second is None
    clock.sleep(0.125)
    assert not pace.due(2)
    clock.sleep(0.125)
    assert pace.due(7)
    assert pace.per_second == 24.0
