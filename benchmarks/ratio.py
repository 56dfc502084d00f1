"""Speed and memory as ratios: the plain formulation and the fast one, run alternately in one process."""

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Ratio:
    """How two callables compare.

    Attributes:
        plain_seconds: median CPU time of one call of the plain formulation (all threads of the process).
        fast_seconds: the same of the fast one.
        wall: ratio of the median wall times, plain over fast.
    """

    plain_seconds: float
    fast_seconds: float
    wall: float

    @property
    def cpu(self) -> float:
        """How many times less CPU time the fast one takes."""
        return self.plain_seconds / self.fast_seconds

    def __str__(self) -> str:
        return (
            f"{self.cpu:.2f}x CPU time, {self.wall:.2f}x wall "
            f"({1e3 * self.plain_seconds:.1f} ms plain, {1e3 * self.fast_seconds:.1f} ms fast)"
        )


def ratio(plain: Callable[[], object], fast: Callable[[], object], *, repeats: int = 5, warmup: int = 1) -> Ratio:
    """Time two callables alternately, so that what else the machine does burdens both alike.

    Args:
        plain: the plain formulation; one call is one measurement.
        fast: the fast one.
        repeats: calls of each, of which the median counts.
        warmup: calls of each before the first that counts.
    """
    for _ in range(warmup):
        plain()
        fast()
    samples = [(_seconds(plain), _seconds(fast)) for _ in range(repeats)]
    plain_cpu, plain_wall = (statistics.median(sample[0][n] for sample in samples) for n in (0, 1))
    fast_cpu, fast_wall = (statistics.median(sample[1][n] for sample in samples) for n in (0, 1))
    return Ratio(plain_cpu, fast_cpu, plain_wall / fast_wall)


def _seconds(call: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of one call, the device's queue included."""
    gc.collect()
    _synchronise()
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    _synchronise()
    return time.process_time() - cpu, time.perf_counter() - wall


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes(call: Callable[[], object], *, repeats: int = 1) -> int:
    """The most memory that a call holds at once beyond what is held before it.

    On a CPU the resident size of the process is watched from a second thread (Linux), so that what torch, numpy and
    scipy allocate is seen alike; on a GPU torch's own count is used. One call warms up; then the least of `repeats`.
    """
    call()
    return min(_cuda_peak(call) if torch.cuda.is_available() else _resident_peak(call) for _ in range(repeats))


def cost(call: Callable[[], object]) -> tuple[float, int]:
    """CPU seconds and peak bytes of one call, for what takes too long to be called often; warm it up before."""
    measured: list[tuple[float, float]] = []

    def timed() -> None:
        measured.append(_seconds(call))

    peak = _cuda_peak(timed) if torch.cuda.is_available() else _resident_peak(timed)
    return measured[0][0], peak


def _cuda_peak(call: Callable[[], object]) -> int:
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


def _resident_peak(call: Callable[[], object]) -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else blocks that were freed before hide what the call takes
    done = threading.Event()
    before = peak = _resident()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return max(peak, _resident()) - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
