"""What `regbench run` does, once its words are read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from regbench.api import Preset, Progress, Silent
from regbench.api.grid import times
from regbench.cli.console import err, out, tell, warn
from regbench.cli.errors import FAILED, INTERRUPTED, OK, WRONG_REQUEST
from regbench.cli.jobs import side_by_side
from regbench.cli.plans import (
    BASELINE,
    DEFAULT_MASKS,
    Stage,
    Wanted,
    masks_meant,
    names_of,
    needs_default_masks,
    plans,
    rows,
    stage,
    usable_metrics,
    without_recipe,
)
from regbench.cli.preparing import preparing, staged
from regbench.cli.progress import clock, shown
from regbench.cli.settings import read_budget, read_folders, read_settings
from regbench.data import prepare
from regbench.engine import Plan
from regbench.engine import run as run_plan
from regbench.engine.devices import cores, resolve_device
from regbench.engine.records.record import now
from regbench.errors import BadValueError, RequestError, RunError
from regbench.leaderboard import boards, measured, renderable
from regbench.leaderboard.board import board_key
from regbench.registry import Registry
from regbench.results import RunRecord, Store


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `regbench run` as they were given."""

    tasks: Sequence[str]
    methods: Sequence[str]
    masks: Sequence[str]
    data: Sequence[str]
    protocol: str | None
    preset: Preset
    steps: int | None
    budget: str | None
    refine: int
    seeds: Sequence[int]
    settings: Sequence[str]
    device: str
    runs: Path
    save_fields: bool
    force: bool
    jobs: int | None
    plugins: Sequence[Path]


@dataclass(frozen=True)
class Ended:
    """What came of a plan.

    Attributes:
        record: its record; None where there is none.
        sentence: why there is none.
        wrong_request: it could not even be begun.
    """

    record: RunRecord | None
    sentence: str = ""
    wrong_request: bool = False


@dataclass
class Outcome:
    """What has come of an order so far."""

    records: list[RunRecord] = field(default_factory=list)
    status: int = OK

    def worsen(self, status: int) -> None:
        """A wrong request outweighs a failure, which outweighs success."""
        self.status = max(self.status, status)


def carry_out(order: Order) -> int:
    """Check everything that was asked for, run it all, print the boards; the exit status."""
    registry = Registry(order.plugins)
    outcome = Outcome()
    wanted, unusable = _wanted(order, registry)
    rows(registry, wanted)
    metrics, broken = usable_metrics(registry)
    for sentence in [*unusable, *broken]:
        warn(sentence)
        outcome.worsen(FAILED)
    _announce(registry, wanted)
    try:
        for name in wanted.tasks:
            try:
                here = staged(registry, name, wanted)
                todo = plans(registry, here, wanted, metrics)
                _announce_stage(here)
                _prepare(here)
            except RequestError as error:
                if len(wanted.tasks) == 1:
                    raise
                warn(f"{name}: {error}")
                outcome.worsen(WRONG_REQUEST)
            else:
                jobs = _jobs(order, wanted, todo)
                if jobs > 1:
                    _run_side_by_side(todo, order, outcome, jobs)
                else:
                    _run_all(todo, order, outcome)
    except KeyboardInterrupt:
        err().print("Interrupted. The same command goes on from the last checkpoint.")
        return INTERRUPTED
    _print_boards(Store(order.runs), outcome)
    return outcome.status


def _wanted(order: Order, registry: Registry) -> tuple[Wanted, list[str]]:
    """What is meant, and a sentence for each plugin that cannot be used."""
    if order.steps is not None and order.budget is not None:
        raise BadValueError("--steps and --budget exclude each other; give one of them.")
    tasks, broken_tasks = names_of(registry, "task", order.tasks)
    methods, broken_methods = names_of(registry, "method", order.methods)
    wanted = Wanted(
        tasks=tasks,
        methods=methods,
        masks=list(dict.fromkeys(masks_meant(order.methods, order.masks))),
        folders=read_folders(order.data, tasks),
        protocol=order.protocol,
        preset=order.preset,
        steps=order.steps,
        budget_seconds=read_budget(order.budget) if order.budget is not None else None,
        refine=order.refine,
        seeds=list(dict.fromkeys(order.seeds)),
        settings=read_settings(order.settings, methods),
        device=resolve_device(order.device),
        save_fields=order.save_fields,
    )
    left_out = without_recipe(registry, wanted, [name for name in methods if name not in order.methods])
    wanted = replace(wanted, methods=[name for name in methods if name not in left_out])
    return wanted, [*broken_tasks, *broken_methods, *left_out.values()]


def _announce(registry: Registry, wanted: Wanted) -> None:
    defaulted = needs_default_masks(registry, wanted)
    if defaulted:
        tell(f"{', '.join(defaulted)} needs masks; taking those of '{DEFAULT_MASKS}' (--masks NAME for others).")


def _announce_stage(here: Stage) -> None:
    protocol = here.protocol
    scans = f"real scans in {here.folder}" if here.data == "real" else "phantoms (no --data given): synthetic scans"
    out().print(f"[bold]{here.task.card.title}[/bold] on {scans}", soft_wrap=True)
    tell(f"protocol {protocol.name}: {len(protocol.train_pairs)} training pairs, {len(protocol.test_pairs)} test "
         f"pairs, {times(protocol.grid.shape)} voxels")  # fmt: skip


def _prepare(here: Stage) -> None:
    """Check and preprocess the scans, so that all their faults are told once, and before anything is run."""
    with preparing(here.protocol) as done:
        prepare(here.task, here.folder, here.protocol, done=done)


def _jobs(order: Order, wanted: Wanted, todo: Sequence[Plan]) -> int:
    """How many runs at a time: two small trainings are sooner done on a CPU than one after the other on all cores."""
    if order.jobs is not None:
        return min(order.jobs, len(todo))
    trained = sum(plan.recipe is not None for plan in todo)
    return 2 if trained > 1 and wanted.preset == "quick" and wanted.device.type == "cpu" and cores() > 1 else 1


def _run_side_by_side(todo: Sequence[Plan], order: Order, outcome: Outcome, jobs: int) -> None:
    begun = now()
    tell(f"{len(todo)} runs, {jobs} at a time; --jobs 1 runs one after the other and shows how far it has come.")
    work = partial(_attempt_in_place, order, todo[0].task_name)
    lost = Ended(None, "The process that ran it was killed, perhaps for its memory; try --jobs 1.")
    for number, (place, ended) in enumerate(side_by_side(work, len(todo), jobs, lost=lost), 1):
        tell(f"{number}/{len(todo)} {_named(todo[place])}")
        _take(ended, order, outcome, begun, complaint=f"    {ended.sentence}")


def _run_all(todo: Sequence[Plan], order: Order, outcome: Outcome) -> None:
    for place, plan in enumerate(todo, 1):
        tell(f"{place}/{len(todo)} {_named(plan)}")
        begun = now()
        ended = _attempt(plan, order, shown())
        _take(ended, order, outcome, begun, complaint=f"{plan.task_name}, {plan.row}: {ended.sentence}")


def _named(plan: Plan) -> str:
    return plan.row + (f", seed {plan.seed}" if plan.recipe else "")


def _attempt(plan: Plan, order: Order, progress: Progress) -> Ended:
    try:
        return Ended(run_plan(plan, Store(order.runs), progress, force=order.force))
    except (RequestError, RunError) as error:
        return Ended(None, str(error), isinstance(error, RequestError))


def _attempt_in_place(order: Order, task: str, place: int) -> Ended:
    """In a process that has the order only: its plans hold what cannot be sent."""
    return _attempt(_plans_of(order, task)[place], order, Silent())


def _plans_of(order: Order, task: str) -> list[Plan]:
    """The plans of one of an order's tasks, which was checked and prepared before."""
    registry = Registry(order.plugins)
    wanted, _ = _wanted(order, registry)
    metrics, _ = usable_metrics(registry)
    return plans(registry, stage(registry, task, wanted), wanted, metrics)


def _take(ended: Ended, order: Order, outcome: Outcome, begun: str, *, complaint: str) -> None:
    if ended.record is None:
        warn(complaint)
        outcome.worsen(WRONG_REQUEST if ended.wrong_request else FAILED)
    else:
        outcome.records.append(ended.record)
        outcome.worsen(_report(ended.record, begun, asked="all" not in order.methods))


def _report(record: RunRecord, begun: str, *, asked: bool) -> int:
    """Say how a run ended; the status that stands for it."""
    if record.status == "done":
        seconds = sum(record.cost.wall_seconds.values())
        before = " before" if record.finished and record.finished < begun else ""
        tell(f"    done{before} in {clock(seconds)} (run {record.run_id[:8]})")
        return OK
    warn(f"    {record.status}: {record.reason}")
    return FAILED if record.status == "failed" or (asked and record.method.name != BASELINE) else OK


def _print_boards(store: Store, outcome: Outcome) -> None:
    runs, faults = measured(store)
    readable = {run.record.run_id for run in runs}
    if any(record.run_id not in readable for record in outcome.records):
        outcome.worsen(FAILED)  # a row that was asked for is not on the board
    keys = {board_key(record) for record in outcome.records}
    for board in boards(run for run in runs if board_key(run.record) in keys):
        out().print("", renderable(board, brief=True))
    for fault in faults:
        warn(fault)
    if keys:
        more = "'regbench leaderboard' adds statistics, and how each row was made."
        tell(f"\nThe records are in {store.root}. {more}")
