"""Run a plan: train, evaluate, record."""

from dataclasses import replace

import torch

from regbench.api.progress import Progress, Silent
from regbench.engine.apart import own_settings
from regbench.engine.plan import Plan
from regbench.engine.records.record import lacks
from regbench.engine.records.run_id import data_fingerprint, run_id
from regbench.engine.sitting import Sitting
from regbench.results import RunFolder, RunRecord, Store


def run(plan: Plan, store: Store, progress: Progress | None = None, *, force: bool = False) -> RunRecord:
    """Bring a plan's run to its end, from wherever it stands.

    A finished run is returned as it is, but for metrics and fields that are asked for and that it lacks, for which it
    is evaluated again with its weights. An interrupted run goes on from its last checkpoint. Both are done on as many
    threads as before on a CPU, since sums in another order would round otherwise. A failed or skipped one is tried
    again, since what was missing may be there now. What goes wrong inside of a method is recorded as failed with its
    reason and not raised; the traceback is beside the record. A refined run takes over the network of the run that
    differs by the refinement only.

    Args:
        plan: what to run.
        store: where the record is kept.
        progress: who is told.
        force: start from nothing, whatever there is.

    Raises:
        BusyError: if another process holds the run.
        RequestError: if the data, the storage, or a setting of the method or the masks cannot be used.
        KeyboardInterrupt: after a checkpoint is written and the record says "interrupted".
    """
    data = data_fingerprint(plan)
    folder = store.folder(plan.task_name, plan.row, run_id(plan, data))
    with folder.lock(), own_settings():
        if force:
            folder.clear()
        before = folder.load()
        if before and before.status in ("interrupted", "done") and plan.device.type == "cpu":
            torch.set_num_threads(before.machine.threads or torch.get_num_threads())
        plain = None if force else _without_refinement(plan, store, data)
        told = progress or Silent()
        sitting = Sitting(plan, folder, data, before, told, plain)
        if before is None or before.status != "done":
            if before and before.status in ("failed", "skipped"):
                told.note(f"It was tried before and {before.status}; trying again.")
            return sitting.to_the_end()
        return sitting.once_more(before) if lacks(before, plan, folder) else before


def _without_refinement(plan: Plan, store: Store, data: str) -> tuple[RunFolder, RunRecord] | None:
    """The run that differs by its refinement only, if its network is trained to the end."""
    if not plan.refine or plan.recipe is None:
        return None
    plain = replace(plan, refine=0)
    folder = store.folder(plan.task_name, plain.row, run_id(plain, data))
    record = folder.load()
    return (folder, record) if record and record.status == "done" and folder.weights.is_file() else None
