"""The device that is computed on, and the facts of the machine around it."""

import inspect
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from regbench.engine.plan import Precision
from regbench.errors import DeviceError
from regbench.results import MachineRecord


def resolve_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: "auto" (the first GPU, or else the CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: if it is not there.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    number = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    if not number:
        raise DeviceError(f"There is no device called '{name}'; expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "this torch is built without CUDA" if built is None else f"torch {torch.__version__} finds no GPU"
        raise DeviceError(f"A GPU was asked for ('{name}'), but {why}; use --device cpu, or install a torch that fits.")
    index = int(number[1] or 0)
    if index >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise DeviceError(f"There is no device '{name}': the GPUs here are cuda:0 to cuda:{last}.")
    return torch.device("cuda", index)


def asked_device(name: str | None) -> torch.device | None:
    """The device of a name; None where none was named, for what chooses by itself.

    Raises:
        DeviceError: if it is not there.
    """
    return None if name is None else resolve_device(name)


def machine(device: torch.device, precision: Precision, method: type | None = None) -> MachineRecord:
    """The facts of this machine.

    Args:
        device: what is computed on.
        precision: of the training.
        method: the class whose source's commit is asked for, or None.
    """
    on_gpu = device.type == "cuda"
    return MachineRecord(
        system=platform.platform(),
        processor=_processor(),
        cores=cores(),
        threads=torch.get_num_threads(),
        accelerator=torch.cuda.get_device_name(device) if on_gpu else None,
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if on_gpu else None,
        precision=precision,
        tf32=on_gpu and _tf32(),
        deterministic=not on_gpu or torch.are_deterministic_algorithms_enabled(),
        git=_commit(method) if method else None,
    )


def _tf32() -> bool:
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    try:
        return bool(cudnn.allow_tf32 or matmul.allow_tf32)
    except RuntimeError:  # once torch's newer names were used, it does not answer to the older ones
        return "tf32" in (cudnn.conv.fp32_precision, matmul.fp32_precision)


def synchroniser(device: torch.device) -> Callable[[], None]:
    """What waits until the device has done all that it was given."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit(method: type) -> str | None:
    """The commit that a class's file is tracked in, with a plus sign where its working tree has changes."""
    git = shutil.which("git")
    try:
        file = Path(inspect.getfile(method)).resolve()
    except (TypeError, OSError):
        return None

    def ask(*words: str) -> str | None:
        if git is None:
            return None
        answer = subprocess.run([git, "-C", str(file.parent), *words], capture_output=True, text=True, check=False)  # noqa: S603
        return answer.stdout.strip() if answer.returncode == 0 else None

    if ask("ls-files", "--error-unmatch", file.name) is None:
        return None
    commit = ask("rev-parse", "HEAD")
    return f"{commit}+" if commit and ask("status", "--porcelain", "--untracked-files=no") else commit
