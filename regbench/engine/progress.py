"""What the engine tells while it works; mask sources tell the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from regbench.api.progress import Phase, Progress, Silent, Tick

__all__ = ["Phase", "Progress", "Silent", "Tick", "during"]


@contextmanager
def during(phase: Phase, progress: Progress, total: float | None = None, unit: str = "scan") -> Iterator[None]:
    """A phase that is told of from its start to its end, well or not; see `Progress.started`."""
    progress.started(phase, total, unit)
    try:
        yield
    finally:
        progress.done()
