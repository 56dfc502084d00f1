"""Run a plan: train, evaluate, record."""

from regbench.engine.plan import Plan
from regbench.engine.progress import Progress, Silent
from regbench.results import RunRecord, Store


def run(plan: Plan, store: Store, progress: Progress | None = None, *, force: bool = False) -> RunRecord:
    """Bring a plan's run to its end, from wherever it stands.

    A finished (or skipped) run is returned as it is; an interrupted one goes on from its last checkpoint; a failed one
    is tried again. What goes wrong inside of a method is recorded as failed with its reason and not raised.

    Args:
        plan: what to run.
        store: where the record is kept.
        progress: who is told.
        force: start from nothing, whatever there is.

    Raises:
        BusyError: if another process holds the run.
        RequestError: if the data, the device, the storage, or a setting of the method cannot be used.
        KeyboardInterrupt: after the checkpoint is written and the record says "interrupted".
    """
    raise NotImplementedError(plan, store, progress or Silent(), force)
