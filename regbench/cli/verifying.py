"""What `regbench verify` says."""

from dataclasses import asdict
from math import isfinite
from typing import Any

from rich.table import Table

from regbench.cli.console import out
from regbench.engine import Verdict
from regbench.results import RunRecord

_MOST = 20


def print_verdict(record: RunRecord, verdict: Verdict) -> None:
    """Print what agrees, what does not, and the largest difference of each metric."""
    console = out()
    console.print(f"Run {record.run_id}: {record.row}, {record.task}, protocol {record.protocol.name}",
                  style="bold", markup=False, soft_wrap=True)  # fmt: skip
    for sentence in verdict.faults:
        console.print(f"- {sentence}", style="red", markup=False, soft_wrap=True)
    for sentence in verdict.notes:
        console.print(sentence, style="dim", markup=False, soft_wrap=True)
    if not any(" sha256 " in sentence for sentence in verdict.faults):
        console.print("The files are those that the run wrote, by their sha256.")
    console.print(f"Scored: {verdict.source}.", markup=False)
    console.print(f"Tolerance: {verdict.tolerance}.", markup=False, soft_wrap=True)
    agreeing = verdict.rows - len(verdict.differing)
    console.print(f"{agreeing} of {verdict.rows} rows agree, {verdict.equal} of them to the last bit.")
    if verdict.largest:
        console.print(_largest(record, verdict))
    for one in verdict.differing[:_MOST]:
        console.print(f"- {one.key}: {_value(one.recorded)} in the record, {_value(one.now)} now",
                      markup=False, soft_wrap=True)  # fmt: skip
    if len(verdict.differing) > _MOST:
        console.print(f"- and {len(verdict.differing) - _MOST} more; --json lists all")
    console.print("The record holds." if verdict.holds else "The record does not hold.",
                  style="bold green" if verdict.holds else "bold red")  # fmt: skip


def as_json(record: RunRecord, verdict: Verdict) -> dict[str, Any]:
    """The same for programs; a difference that is not finite (a row that is missing) is null."""
    content = asdict(verdict)
    return {
        "run_id": record.run_id,
        "holds": verdict.holds,
        **content,
        "tolerance": str(verdict.tolerance),
        "largest": {name: value if isfinite(value) else None for name, value in verdict.largest.items()},
        "differing": [
            {**one, **{side: _finite(one[side]) for side in ("recorded", "now")}} for one in content["differing"]
        ],
    }


def _largest(record: RunRecord, verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("Metric", "Unit", "Largest difference"):
        table.add_column(head, justify="right" if head.startswith("Largest") else "left")
    for name, value in verdict.largest.items():
        said = "0" if value == 0 else f"{value:.2g}" if isfinite(value) else "missing"
        metric = record.metrics.get(name)
        table.add_row(name, metric.unit if metric else "", said)
    return table


def _value(value: float | None) -> str:
    return "no row" if value is None else f"{value:.9g}"


def _finite(value: float | None) -> float | str | None:
    return value if value is None or isfinite(value) else str(value)
