"""Which runs were timed beside others: their seconds are those of a machine that had more to do."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from regbench.results import RunRecord


def timed_beside_others(records: Sequence[RunRecord]) -> frozenset[str]:
    """The runs whose test pairs were registered while another run was at work on a machine of the same description.

    Records do not say on which of several like machines they were made: what was made on two of them at one time
    counts, too.
    """
    spans = [(record, *_span(record)) for record in records if record.finished]
    return frozenset(
        record.run_id
        for record, _, evaluated, ended in spans
        for other, began, _, over in spans
        if other is not record and began < ended and evaluated < over and _machine(other) == _machine(record)
    )


def _span(record: RunRecord) -> tuple[datetime, datetime, datetime]:
    """When a run began, when it began to register its test pairs, and when it ended."""
    began, ended = datetime.fromisoformat(record.started), datetime.fromisoformat(record.finished or record.started)
    evaluation = timedelta(seconds=record.cost.wall_seconds.get("evaluate", 0.0))
    return began, max(began, ended - evaluation), ended


def _machine(record: RunRecord) -> tuple[object, ...]:
    machine = record.machine
    return machine.system, machine.processor, machine.cores, machine.accelerator
