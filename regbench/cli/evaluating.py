"""Carry out `regbench evaluate`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regbench.api import Metric, Preset
from regbench.cli.console import out, tell, warn
from regbench.cli.plans import Wanted, usable_metrics
from regbench.cli.preparing import staged
from regbench.cli.progress import clock, shown
from regbench.cli.settings import read_settings
from regbench.engine import Plan, resolve_device
from regbench.engine.proof.given import evaluate_fields, given
from regbench.errors import BadValueError, DataError
from regbench.leaderboard import boards, measured, renderable
from regbench.leaderboard.board import board_key
from regbench.registry import Registry
from regbench.results import Store

_NAME = re.compile(r"[^\W_][\w .,()+-]{0,59}")
_TAKEN = {"initial"}


@dataclass(frozen=True, kw_only=True)
class GivenOrder:
    """The options of `regbench evaluate` as they were given."""

    task: str
    fields: Path
    name: str
    data: Path | None
    protocol: str | None
    preset: Preset
    settings: Sequence[str]
    save_fields: bool
    device: str
    runs: Path
    force: bool
    plugins: Sequence[Path]


def score_given(order: GivenOrder) -> None:
    """Check everything, score the fields, record them, and print the board that they are on.

    Raises:
        RequestError, RunError: see `evaluate_fields`.
    """
    if not order.fields.is_dir():  # before the scans are made ready, which takes minutes
        raise DataError(
            [f"{order.fields} is no folder; expected one that holds disp_FIXED_MOVING.nii.gz or .npz files."]
        )
    registry = Registry(order.plugins)
    metrics, broken = usable_metrics(registry)
    for sentence in broken:
        warn(sentence)
    store = Store(order.runs)
    plan = _plan(order, registry, metrics)
    record = evaluate_fields(plan, order.fields, store, shown(), force=order.force)
    took = clock(sum(record.cost.wall_seconds.values()))
    tell(f"{record.row}: {len(record.protocol.test_pairs)} pairs scored in {took} (run {record.run_id[:8]})")
    runs, faults = measured(store)
    for board in boards(run for run in runs if board_key(run.record) == board_key(record)):
        out().print("", renderable(board, brief=True))
    for fault in faults:
        warn(fault)


def _plan(order: GivenOrder, registry: Registry, metrics: Mapping[str, Metric]) -> Plan:
    if not _NAME.fullmatch(order.name):
        raise BadValueError(
            f"--name {order.name!r} cannot be a row's name; take letters, digits, spaces, . , ( ) + - _."
        )
    if order.name.lower() in {*registry.names("method"), *_TAKEN}:
        raise BadValueError(f"The name '{order.name}' is taken by a method of its own; choose another --name.")
    settings = read_settings(order.settings, [])
    if settings.methods or settings.masks or settings.recipe:
        raise BadValueError("Only task.NAME can be set here, since nothing is trained; e.g. --set task.grid=96x80x128.")
    wanted = Wanted(
        tasks=[order.task],
        methods=[],
        folders={order.task: order.data} if order.data else {},
        protocol=order.protocol,
        preset=order.preset,
        settings=settings,
    )
    here = staged(registry, order.task, wanted)
    return Plan(
        task_name=here.name,
        task=here.task,
        protocol=here.protocol,
        data=here.data,
        folder=here.folder,
        method=given(order.name),
        preset=order.preset,
        device=resolve_device(order.device),
        metrics=metrics,
        save_fields=order.save_fields,
    )
