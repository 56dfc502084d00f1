"""Fields that were made elsewhere: scored, recorded, and put on the board like any run."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from regbench.api import Card, Field, Method, Pair, PairId
from regbench.api.progress import Progress, Silent, during
from regbench.data import load_cohort, write_field
from regbench.data.files.atomic import remove_folder
from regbench.data.learn2reg import FieldFolder, submission_name
from regbench.engine.evaluation.scoring import score_fields
from regbench.engine.plan import Chosen, Plan
from regbench.engine.records.outside import keep_places
from regbench.engine.records.record import lacks, new_record, now
from regbench.engine.records.run_id import digest, pairs_digest, task_settings
from regbench.errors import RegbenchError, RunError
from regbench.registry import Plugin
from regbench.results import CostRecord, RunFolder, RunRecord, Store, write_cases

FIELDS = "fields"
_LENGTH = 12


@dataclass(frozen=True)
class GivenFields(Method):
    """Stands where a record asks for a method, and registers nothing: its fields were made by somebody else."""

    card: ClassVar[Card] = Card(title="Given fields", summary="Displacement fields that were made elsewhere.")

    def register(self, pair: Pair) -> Field:  # noqa: ARG002 - no pair can be registered
        """Refuse.

        Raises:
            RunError: always.
        """
        raise RunError(
            "The fields of this run were made elsewhere, and were not kept; score them again with 'regbench evaluate "
            "--save-fields'."
        )


def given(name: str) -> Chosen[Method]:
    """Fields made elsewhere in the place of a method, under a name of their own."""
    return Chosen(Plugin("method", name, FIELDS, "", ""), GivenFields())


def evaluate_fields(
    plan: Plan, fields: Path, store: Store, progress: Progress | None = None, *, force: bool = False
) -> RunRecord:
    """Score a folder of fields and record it as a run, whose id follows from the fields.

    Args:
        plan: what they are scored on, and how; its method is one of `given`.
        fields: the folder, see `FieldFolder`.
        store: where the record is kept.
        progress: who is told.
        force: score again what was scored before.

    Returns:
        The record; that of an earlier call with the same fields if there is one that has every metric.

    Raises:
        DataError: with every fault of the fields or the scans; nothing is recorded then.
        RunError: if a metric fails, after the record says so.
        BusyError: if another process holds the run.
    """
    told, begun = progress or Silent(), time.perf_counter()
    with during("prepare", told):
        cohort = load_cohort(plan.task, plan.folder, plan.protocol, device=plan.device, cache=plan.cache)
        source = FieldFolder(fields, cohort)
        digests = source.digests(list(plan.protocol.test_pairs))
    plan = _identified(plan, digests)
    folder = store.folder(plan.task_name, plan.row, _run_id(plan, cohort.fingerprint))
    with folder.lock():
        if force:
            folder.clear()
        before = folder.load()
        if before is not None and before.status == "done" and not lacks(before, plan, folder):
            return before
        record = new_record(plan, folder.path.name, cohort.fingerprint)
        nobody = {"title": plan.row, "source": None}
        record = record.model_copy(update={"method": record.method.model_copy(update=nobody)})
        return _scored(plan, source, folder, record, told, begun)


def _scored(
    plan: Plan, source: FieldFolder, folder: RunFolder, record: RunRecord, progress: Progress, begun: float
) -> RunRecord:
    keep_places(plan, folder)
    folder.save(record)
    pairs = list(plan.protocol.test_pairs)
    prepared = time.perf_counter()
    if plan.save_fields:
        remove_folder(folder.fields)

    def keep(pair: PairId, field: Field) -> None:
        write_field(folder.fields / submission_name(pair), field)

    try:
        kept = keep if plan.save_fields else None
        rows = score_fields(source.field, source.cohort, pairs, plan.metrics, progress, kept)
    except BaseException as error:
        reason = " ".join(str(error).split()) if isinstance(error, RegbenchError) else repr(error)
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        folder.save(record.model_copy(update={"status": status, "reason": reason, "finished": now()}))
        raise
    write_cases(folder.cases, rows)
    seconds = {"prepare": prepared - begun, "evaluate": time.perf_counter() - prepared}
    done = {"status": "done", "finished": now(), "files": folder.digests(), "cost": CostRecord(wall_seconds=seconds)}
    record = record.model_copy(update=done)
    folder.save(record)
    return record


def _identified(plan: Plan, digests: list[str]) -> Plan:
    """The plan with a digest of all fields in the place of the method's version."""
    pairs = zip(plan.protocol.test_pairs, digests, strict=True)
    version = digest([[*pair, one] for pair, one in pairs])[:_LENGTH]
    return replace(plan, method=replace(plan.method, plugin=replace(plan.method.plugin, version=version)))


def _run_id(plan: Plan, data: str) -> str:
    protocol, plugin = plan.protocol, plan.method.plugin
    scored_on = [FIELDS, plan.task_name, plan.data, data, protocol.decisive(), pairs_digest(protocol)]
    what = [*scored_on, plugin.name, plugin.version]
    settings = task_settings(plan.task)
    return digest([*what, settings] if settings else what)[:_LENGTH]
