"""How each row was made, in full: what a reviewer asks for, one fold a row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regbench.leaderboard import Board, Row
from regbench.results import RunRecord


@dataclass(frozen=True, slots=True)
class RowView:
    """A row with everything that its records say.

    Attributes:
        name: of the row.
        facts: what and value, in the order of reading.
        citation: BibTeX; may be empty.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    citation: str


def row_views(board: Board) -> list[RowView]:
    """Every row of a board."""
    return [RowView(row.name, tuple(_facts(row)), row.record.method.citation) for row in board.rows]


def _facts(row: Row) -> list[tuple[str, str]]:
    record, method = row.record, row.record.method
    facts = [
        ("Method", f"{method.name}, {method.distribution} {method.version}"),
        ("Configuration", _words(method.configuration)),
        ("Changed", _words(method.changed) or "nothing: all fields at their defaults"),
        ("Preset", record.preset),
        ("Masks", _masks(record)),
    ]
    if record.training:
        facts.append(("Recipe", _words(record.training.recipe)))
    facts += [(f"Run {run.run_id[:8]}", _run(run)) for run in row.runs]
    return facts


def _masks(record: RunRecord) -> str:
    masks = record.masks
    if masks is None:
        return "none"
    settings = _words(masks.configuration)
    flags = (
        (masks.saw_test_images, "may have seen the test scans"),
        (masks.saw_test_labels, "looks at the labels of the test scans"),
    )
    seen = [text for flag, text in flags if flag]
    parts = [f"{masks.title}, used in {masks.used}", f"{masks.distribution} {masks.version}", settings, *seen]
    if masks.trained_on:
        parts.append(f"trained on {masks.trained_on}")
    return "; ".join(part for part in parts if part)


def _run(run: RunRecord) -> str:
    machine = run.machine
    training = run.training
    parts = [
        f"seed {run.seed}",
        f"{training.steps_done} of {training.steps} steps" if training else "",
        f"best validation {training.best_validation:.1f} after step {training.best_step}"
        if training and training.best_validation is not None else "",
        machine.accelerator or f"{machine.processor}, {machine.cores} cores",
        f"threads {machine.threads}" if machine.threads and not machine.accelerator else "",
        f"{machine.system}, Python {machine.python}, torch {machine.torch}",
        f"CUDA {machine.cuda}, TF32 {'on' if machine.tf32 else 'off'}" if machine.cuda else "",
        f"{machine.precision}, {'deterministic' if machine.deterministic else 'not deterministic'}",
        f"git {machine.git}" if machine.git else "",
        ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in run.cost.wall_seconds.items()),
        f"{run.started} to {run.finished}" if run.finished else run.started,
    ]  # fmt: skip
    return "; ".join(part for part in parts if part)


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    """A value as JSON has it; of a path, only the file's name: where it lies is nobody's business."""
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return Path(value.replace("\\", "/")).name
    return value if isinstance(value, str) else json.dumps(value, default=str)
