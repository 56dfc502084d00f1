"""A plan in the words of the record."""

from datetime import UTC, datetime

from pydantic_core import to_jsonable_python

from regbench.api import MaskSource, Method, Trainable
from regbench.engine.devices import machine
from regbench.engine.plan import Chosen, Plan
from regbench.engine.records.outside import named
from regbench.engine.records.run_id import pairs_digest
from regbench.engine.records.source import source_digest
from regbench.registry import changed, configuration
from regbench.results import DataRecord, MasksRecord, MethodRecord, MetricRecord, RunFolder, RunRecord, TrainingRecord


def new_record(plan: Plan, run_id: str, data: str) -> RunRecord:
    """The record of a run that begins.

    Args:
        plan: what is run.
        run_id: its id.
        data: the data's fingerprint.
    """
    return RunRecord(
        run_id=run_id,
        row=plan.row,
        task=plan.task_name,
        task_title=plan.task.card.title,
        protocol=plan.protocol,
        preset=plan.preset,
        data=DataRecord(
            kind=plan.data,
            fingerprint=data,
            pairs=pairs_digest(plan.protocol),
            settings=named(plan.task, changed(plan.task)),
        ),
        method=_method(plan.method),
        masks=_masks(plan),
        training=_training(plan),
        refine=plan.refine,
        seed=plan.seed,
        machine=machine(plan.device, plan.precision, type(plan.method.instance)),
        status="running",
        started=now(),
        metrics=metric_records(plan),
    )


def metric_records(plan: Plan) -> dict[str, MetricRecord]:
    """How each metric's column is read."""
    return {
        name: MetricRecord(
            title=metric.card.title, unit=metric.unit, higher_is_better=metric.higher_is_better, digits=metric.digits
        )
        for name, metric in plan.metrics.items()
    }


def lacks(record: RunRecord, plan: Plan, folder: RunFolder) -> bool:
    """Whether a plan asks for metrics or fields that its finished run has not got."""
    return not plan.metrics.keys() <= record.metrics.keys() or (plan.save_fields and not folder.keeps_fields(record))


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _method(chosen: Chosen[Method]) -> MethodRecord:
    plugin, method = chosen.plugin, chosen.instance
    return MethodRecord(
        name=plugin.name,
        title=method.card.title,
        distribution=plugin.distribution,
        version=plugin.version,
        configuration=named(method, configuration(method)),
        changed=named(method, chosen.changed),
        citation=method.card.citation,
        masks=method.masks,
        trainable=isinstance(method, Trainable),
        source=source_digest(type(method)),
    )


def _masks(plan: Plan) -> MasksRecord | None:
    chosen: Chosen[MaskSource] | None = plan.masks
    if chosen is None or plan.mask_use is None:
        return None
    plugin, source = chosen.plugin, chosen.instance
    return MasksRecord(
        name=plugin.name,
        title=source.card.title,
        distribution=plugin.distribution,
        version=plugin.version,
        configuration=named(source, configuration(source)),
        saw_test_images=source.saw_test_images,
        saw_test_labels=source.saw_test_labels,
        trained_on=source.card.trained_on,
        used=plan.mask_use,
    )


def _training(plan: Plan) -> TrainingRecord | None:
    if plan.recipe is None:
        return None
    recipe = to_jsonable_python(plan.recipe)
    return TrainingRecord(recipe=recipe, steps=plan.steps or 0, budget_seconds=plan.budget_seconds)
