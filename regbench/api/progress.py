"""What long work tells while it runs; who shows it is not the business of whoever does it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Phase = Literal["prepare", "masks", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a phase has come.

    Attributes:
        done: in the phase's unit; a resumed phase does not start at 0.
        terms: loss terms by name (with "total", their weighted sum), and "validation" once there is one.
        steps: training steps so far, also where the phase is counted in seconds; None outside training.
        per_second: steps (or pairs) a second, lately.
        seconds_left: expected; None while it cannot be told.
        peak_memory_mib: of the phase so far.
    """

    done: float
    terms: Mapping[str, float] = field(default_factory=dict)
    steps: int | None = None
    per_second: float | None = None
    seconds_left: float | None = None
    peak_memory_mib: float | None = None


@runtime_checkable
class Progress(Protocol):
    """Somebody who is told. Phases may nest (a mask source trains a network of its own); calls come from one thread."""

    def started(self, phase: Phase, total: float | None, unit: str) -> None:
        """A phase begins.

        Args:
            phase: which one.
            total: how much there is to do, in the unit; None if nobody knows.
            unit: "step", "second" (a training with a time budget), "pair" or "scan".
        """

    def advanced(self, tick: Tick) -> None:
        """The innermost phase has come further."""

    def done(self) -> None:
        """The innermost phase ends, well or not."""

    def note(self, sentence: str) -> None:
        """Something that the user should read."""


class Silent:
    """Nobody is told."""

    def started(self, phase: Phase, total: float | None, unit: str) -> None:
        """Say nothing."""

    def advanced(self, tick: Tick) -> None:
        """Say nothing."""

    def done(self) -> None:
        """Say nothing."""

    def note(self, sentence: str) -> None:
        """Say nothing."""


@contextmanager
def during(phase: Phase, progress: Progress, total: float | None = None, unit: str = "scan") -> Iterator[None]:
    """A phase that is told of from its start to its end, well or not; see `Progress.started`."""
    progress.started(phase, total, unit)
    try:
        yield
    finally:
        progress.done()
