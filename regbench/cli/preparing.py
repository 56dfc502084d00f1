"""What is shown while a task's scans are made ready."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from regbench.api import Protocol, Tick
from regbench.cli.plans import Stage, Wanted, stage
from regbench.cli.progress import shown_phase
from regbench.registry import Registry


def staged(registry: Registry, name: str, wanted: Wanted) -> Stage:
    """As `stage`; phantoms are made where there are none yet, which takes its time."""
    with shown_phase("prepare", None, "scan"):
        return stage(registry, name, wanted)


@contextmanager
def preparing(protocol: Protocol) -> Iterator[Callable[[int, int], None]]:
    """A phase that counts a protocol's scans; what it gives is told how many are done."""
    with shown_phase("prepare", float(len(protocol.train) + len(protocol.test)), "scan") as progress:
        yield lambda done, _: progress.advanced(Tick(done=float(done)))
