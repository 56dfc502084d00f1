"""How long work is shown."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from regbench.api import Tick
from regbench.cli.progress import BarProgress, LineProgress, amount, describe, shown_phase


def train(progress: BarProgress | LineProgress, steps: int = 100) -> None:
    progress.started("train", float(steps), "step")
    for step in range(1, steps + 1):
        terms = {"similarity": -0.5, "smooth": 0.01, "total": -0.46, "gradient": 9.0}
        progress.advanced(
            Tick(done=float(step), steps=step, terms=terms, per_second=4.0, seconds_left=65.0, peak_memory_mib=2048.0)
        )
    progress.done()


def test_lines_come_every_tenth() -> None:
    lines: list[str] = []
    train(LineProgress(lines.append, short_seconds=0.0))
    assert len(lines) == 10
    assert lines[0] == (
        "  training: 10/100 steps, 4.0 step/s, 1:05 left, 2.0 GiB, total -0.46 similarity -0.5 smooth 0.01"
    )
    assert lines[-1].startswith("  training: 100/100 steps")


def test_short_work_is_not_talked_about() -> None:
    lines: list[str] = []
    train(LineProgress(lines.append, short_seconds=1000.0))
    assert lines == []


def test_resumed_work_does_not_start_at_zero() -> None:
    lines: list[str] = []
    progress = LineProgress(lines.append, short_seconds=0.0)
    progress.started("train", 100.0, "step")
    progress.advanced(Tick(done=57.0, steps=57))
    progress.advanced(Tick(done=58.0, steps=58))
    progress.advanced(Tick(done=61.0, steps=61))
    assert [line.split()[1] for line in lines] == ["57/100", "61/100"]


def test_work_of_unknown_length_is_talked_about_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([0.0, 1.0, 31.0, 40.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    lines: list[str] = []
    progress = LineProgress(lines.append)
    progress.started("prepare", None, "scan")
    for done in (1.0, 2.0, 3.0):
        progress.advanced(Tick(done=done))
    assert lines == ["  preparing scans: 2 scans"]


def test_phases_nest() -> None:
    lines: list[str] = []
    progress = LineProgress(lines.append, short_seconds=0.0)
    progress.started("masks", 4.0, "scan")
    train(progress, steps=2)
    progress.note("A word.")
    progress.advanced(Tick(done=4.0))
    progress.done()
    assert [line.split(":")[0].strip() for line in lines] == [
        "making masks, training",
        "making masks, training",
        "A word.",
        "making masks",
    ]


def test_a_phase_ends_where_its_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    progress = LineProgress(lines.append, short_seconds=0.0)
    monkeypatch.setattr("regbench.cli.progress.shown", lambda: progress)
    with pytest.raises(RuntimeError), shown_phase("prepare", None, "scan"):
        raise RuntimeError
    with shown_phase("evaluate", 1.0, "pair") as same:
        same.advanced(Tick(done=1.0))
    assert lines == ["  registering: 1/1 pairs"], "not within the phase before"


def test_budgets_are_counted_in_time_and_steps() -> None:
    assert amount(Tick(done=90.0, steps=41), unit="second", total=600.0) == "1:30/10:00, 41 steps"
    assert describe(Tick(done=1.0, per_second=0.25), unit="pair", total=None) == ["1 pairs", "4.0 s/pair"]


@pytest.mark.parametrize("width", [80, 100])
def test_bars_show_it_all_and_leave_nothing(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    progress = BarProgress(console)
    progress.started("masks", 4.0, "scan")
    train(progress, steps=3)
    progress.note("A word.")
    progress.done()
    seen = screen.getvalue()
    for word in (
        "making masks",
        "training",
        "3/3 steps",
        "4.0 step/s",
        "1:05 left",
        "2.0 GiB",
        "smooth 0.01",
        "A word.",
    ):
        assert word in seen, word
    assert "…" not in seen
    assert "gradient" not in seen
