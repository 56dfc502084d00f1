"""Long work, shown: a bar on a terminal, plain lines where the output goes elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from regbench.api.progress import Phase, Tick, during
from regbench.cli.console import err

_VERBS: dict[Phase, str] = {
    "prepare": "preparing scans",
    "masks": "making masks",
    "train": "training",
    "evaluate": "registering",
}
_MEBI_PER_GIBI = 1024
_TENTHS = 10
_QUIET_SECONDS = 30.0
_SHORT_SECONDS = 2.0
_NOT_SHOWN = {"gradient"}


def describe(tick: Tick, *, unit: str, total: float | None) -> list[str]:
    """How far it has come, in words: amount, speed, time left, memory.

    >>> describe(Tick(done=5.0, steps=5, per_second=2.0, seconds_left=65.0), unit="step", total=10.0)
    ['5/10 steps', '2.0 step/s', '1:05 left']
    """
    words = [amount(tick, unit=unit, total=total)]
    if tick.per_second is not None:
        words.append(_speed(tick.per_second, "step" if tick.steps is not None else unit))
    if tick.seconds_left is not None:
        words.append(f"{clock(tick.seconds_left)} left")
    if tick.peak_memory_mib is not None:
        words.append(f"{tick.peak_memory_mib / _MEBI_PER_GIBI:.1f} GiB")
    return words


def losses(terms: Mapping[str, float]) -> str:
    """The loss terms, their sum first.

    >>> losses({"similarity": -0.25, "total": -0.21, "smooth": 0.01, "gradient": 3.0})
    'total -0.21 similarity -0.25 smooth 0.01'
    """
    shown = sorted((name for name in terms if name not in _NOT_SHOWN), key=lambda name: name != "total")
    return " ".join(f"{name} {terms[name]:.3g}" for name in shown)


def amount(tick: Tick, *, unit: str, total: float | None) -> str:
    """How much of how much."""
    if unit == "second":
        done = f"{clock(tick.done)}/{clock(total)}" if total is not None else clock(tick.done)
        return f"{done}, {tick.steps} steps" if tick.steps is not None else done
    whole = f"{tick.done:g}/{total:g}" if total is not None else f"{tick.done:g}"
    return f"{whole} {unit}s"


def _speed(per_second: float, unit: str) -> str:
    return f"{per_second:.1f} {unit}/s" if per_second >= 1 or per_second <= 0 else f"{1 / per_second:.1f} s/{unit}"


def clock(seconds: float) -> str:
    """A time as a clock shows it.

    >>> clock(5.0), clock(65.0), clock(7265.0)
    ('0:05', '1:05', '2:01:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class BarProgress:
    """A bar for each phase; nested phases stand below each other, and each goes when it is done."""

    def __init__(self, console: Console) -> None:
        """Nothing is shown until something starts."""
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[words]}", style="dim"),
            console=console,
            transient=True,
        )
        self._console = console
        self._open: list[tuple[TaskID, str, float | None]] = []

    def started(self, phase: Phase, total: float | None, unit: str) -> None:
        """Show a bar."""
        if not self._open:
            self._bars.start()
        within = "  " * len(self._open)
        self._open.append((self._bars.add_task(within + _VERBS[phase], total=total, words=""), unit, total))

    def advanced(self, tick: Tick) -> None:
        """Move the innermost bar."""
        bar, unit, total = self._open[-1]
        words = " · ".join(describe(tick, unit=unit, total=total))
        words += f"\n{losses(tick.terms)}" if tick.terms else ""
        self._bars.update(bar, completed=tick.done, words=words)

    def done(self) -> None:
        """Take the innermost bar away."""
        bar, _, _ = self._open.pop()
        self._bars.refresh()
        self._bars.remove_task(bar)
        if not self._open:
            self._bars.stop()

    def note(self, sentence: str) -> None:
        """Print above the bars."""
        self._console.print(f"  {sentence}", highlight=False, markup=False)


@dataclass
class _Phase:
    name: str
    unit: str
    total: float | None
    told: float = 0.0
    told_at: float = field(default_factory=lambda: time.monotonic())


class LineProgress:
    """A line about every tenth of the way; where nobody knows how long the way is, one every half minute."""

    def __init__(self, write: Callable[[str], None], short_seconds: float = _SHORT_SECONDS) -> None:
        """Lines go to `write`, not more often than every `short_seconds`."""
        self._write = write
        self._short_seconds = short_seconds
        self._open: list[_Phase] = []

    def started(self, phase: Phase, total: float | None, unit: str) -> None:
        """Say what begins, and within what: a mask source may train, too."""
        name = ", ".join([*(outer.name for outer in self._open[-1:]), _VERBS[phase]])
        self._open.append(_Phase(name, unit, total))

    def advanced(self, tick: Tick) -> None:
        """Say how far it has come, if that is news."""
        phase, now = self._open[-1], time.monotonic()
        tenth = 0.0
        if phase.total:
            tenth = tick.done * _TENTHS // phase.total
            news = tenth > phase.told and now - phase.told_at >= self._short_seconds
        else:
            news = now - phase.told_at >= _QUIET_SECONDS
        if news:
            phase.told, phase.told_at = tenth, now
            words = [*describe(tick, unit=phase.unit, total=phase.total), losses(tick.terms)]
            self._write(f"  {phase.name}: {', '.join(word for word in words if word)}")

    def done(self) -> None:
        """Nothing is left to say."""
        self._open.pop()

    def note(self, sentence: str) -> None:
        """Say it."""
        self._write(f"  {sentence}")


def shown() -> BarProgress | LineProgress:
    """Bars where stderr is a terminal, lines where it is not."""
    console = err()
    return BarProgress(console) if console.is_terminal else LineProgress(lambda line: typer.echo(line, err=True))


@contextmanager
def shown_phase(phase: Phase, total: float | None, unit: str) -> Iterator[BarProgress | LineProgress]:
    """A phase that is shown from its start to its end, well or not."""
    progress = shown()
    with during(phase, progress, total, unit):
        yield progress
