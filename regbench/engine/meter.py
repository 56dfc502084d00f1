"""Clocks and memory."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from regbench.engine.devices import synchroniser

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MIB = 2**20


class Stopwatch:
    """Seconds of work on a device, over all sittings; pauses for what does not count."""

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        """A running watch.

        Args:
            device: whose queued work is waited for before the watch is stopped.
            seconds: what it shows at the start.
        """
        self._wait = synchroniser(device)
        self._before = seconds
        self._since: float | None = time.perf_counter()

    @property
    def seconds(self) -> float:
        """What it shows; on a GPU, work that is queued is not in it yet."""
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Not counting what happens in the block."""
        self._wait()
        self._before, self._since = self.seconds, None
        try:
            yield
        finally:
            self._wait()
            self._since = time.perf_counter()


class MemoryMeter:
    """The peak of memory since it was made: on a GPU what torch allocated there, on a CPU the process's resident set.

    Where the system cannot restart its own count of the peak (it can on Linux), the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _restart_resident_peak()

    @property
    def peak_mib(self) -> float:
        """So far, in MiB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _MIB
        return _resident_peak_bytes() / _MIB


def _restart_resident_peak() -> None:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def _resident_peak_bytes() -> float:
    try:
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) if sys.platform == "darwin" else peak * 1024.0


class Pace:
    """Steps a second, lately."""

    def __init__(self, interval_seconds: float) -> None:
        """Not known yet.

        Args:
            interval_seconds: a call is due when so much time has passed since the last one that was.
        """
        self.per_second: float | None = None
        self._interval = interval_seconds
        self._last: tuple[int, float] | None = None

    def due(self, step: int) -> bool:
        """Whether it is time to tell somebody; the first call always is."""
        now = time.perf_counter()
        if self._last is not None:
            last_step, last = self._last
            if now - last < self._interval:
                return False
            rate = (step - last_step) / (now - last)
            self.per_second = rate if self.per_second is None else 0.7 * self.per_second + 0.3 * rate
        self._last = (step, now)
        return True
