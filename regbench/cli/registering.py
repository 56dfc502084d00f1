"""What `regbench register` does, once its words are read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from regbench.cli.console import warn
from regbench.cli.lookup import find_protocol
from regbench.cli.progress import shown, shown_phase
from regbench.cli.register_files import FILES, print_summary, write_results
from regbench.cli.settings import read_settings, read_shape
from regbench.data.files.atomic import storage_errors
from regbench.engine import reopen, resolve_device
from regbench.engine.proof.reopening import differences
from regbench.errors import BadValueError, StorageError, UnknownNameError
from regbench.registration import (
    OwnScans,
    Presented,
    Registrar,
    mask_labels_of,
    present,
    read_own,
    register_own,
    registrar_of_method,
    registrar_of_run,
    with_source_masks,
)
from regbench.registry import Registry
from regbench.results import RunFolder, RunRecord, Store

Pairs = tuple[Path | None, Path | None]


@dataclass(frozen=True, kw_only=True)
class OwnOrder:
    """The options of `regbench register` as they were given."""

    method: str
    fixed: Path
    moving: Path
    out: Path
    masks: Pairs
    labels: Pairs
    refine: int | None
    task: str | None
    protocol: str | None
    grid: str | None
    settings: Sequence[str]
    data: Path | None
    device: str
    runs: Path
    force: bool
    plugins: Sequence[Path]


def register_pair(order: OwnOrder) -> None:
    """Register, write everything, and say what came out.

    Raises:
        RequestError: for scans, a method, a grid or a folder that cannot be used.
        RunError: where the registration fails.
    """
    _check_folder(order)
    registry = Registry(order.plugins)
    device = resolve_device(order.device)
    found = None if order.method in registry.names("method") else _run(order, registry)
    scans = read_own(order.fixed, order.moving, masks=order.masks, labels=order.labels)
    registrar = _registrar(order, registry, found, scans, device)
    if not registrar.looks_at_masks and any(order.masks):
        warn(f"{registrar.name} does not look at masks; those that were given are not used.")
    presented = present(registrar.shown(scans), registrar.preparation, device)
    presented = _with_masks(order, registry, found, registrar, presented)
    with shown_phase("evaluate", None, "pair"):
        registration = register_own(scans, presented, registrar.registering(order.refine))
    steps = registrar.refine if order.refine is None else order.refine
    write_results(order.out, (order.fixed, order.moving, order.labels[1]), scans, registration, registrar, steps)
    print_summary(order.out, registration, registrar, steps)


def _check_folder(order: OwnOrder) -> None:
    """Before anything is computed: a registration that cannot be written is lost."""
    with storage_errors(order.out):
        nearest = next(folder for folder in (order.out, *order.out.parents) if folder.exists())
    if not nearest.is_dir():
        raise StorageError(f"{nearest} is a file; -o takes a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(f"Nothing can be written in {nearest}: permission is denied; choose another folder.")
    there = [name for name in FILES if (order.out / name).exists()]
    if there and not order.force:
        raise StorageError(f"{order.out} holds {there[0]} already; choose another folder, or write over it with "
                           "--force.")  # fmt: skip
    in_the_way = [name for name in there if (order.out / name).is_dir()]
    if in_the_way:
        raise StorageError(f"{order.out / in_the_way[0]} is a folder, where a file is to be written; remove it, or "
                           "choose another folder.")  # fmt: skip


def _run(order: OwnOrder, registry: Registry) -> tuple[RunFolder, RunRecord]:
    store = Store(order.runs)
    try:
        return store.find(order.method)
    except UnknownNameError as error:
        known = [*registry.names("method"), *(record.run_id for _, record in store.list())]
        raise UnknownNameError("method or run", order.method, known) from error


def _registrar(
    order: OwnOrder,
    registry: Registry,
    found: tuple[RunFolder, RunRecord] | None,
    scans: OwnScans,
    device: torch.device,
) -> Registrar:
    if found is not None:
        if order.task or order.protocol or order.settings:
            raise BadValueError("A run brings its task, its protocol and its settings; leave those options out.")
        registrar = registrar_of_run(*found, registry, device)
        for sentence in differences(registry, found[1]):
            warn(sentence)
    else:
        if order.protocol and not order.task:
            raise BadValueError(f"--protocol {order.protocol} needs its task; name it with --task.")
        protocol = (
            find_protocol(order.task, registry.load("task", order.task)(), order.protocol) if order.task else None
        )
        settings = read_settings(order.settings, [order.method])
        if settings.task or settings.masks or settings.recipe:
            raise BadValueError("Only the method's own fields can be set here; the grid is set with --grid.")
        own = {**settings.methods, **settings.of_method.get(order.method, {})}
        registrar = registrar_of_method(registry, order.method, own, protocol, mask_labels_of(scans))
    return registrar.on_grid(read_shape(order.grid)) if order.grid else registrar


def _with_masks(
    order: OwnOrder,
    registry: Registry,
    found: tuple[RunFolder, RunRecord] | None,
    registrar: Registrar,
    presented: Presented,
) -> Presented:
    """The masks of the files, or else those of the run's source."""
    pair = presented.pair
    if not registrar.looks_at_masks or (pair.fixed_mask is not None and pair.moving_mask is not None):
        return presented
    if found is None or any(order.masks):
        raise BadValueError(
            f"{registrar.name} looks at masks of both scans: give label maps with --fixed-mask and --moving-mask."
        )
    device, progress = pair.fixed.data.device, shown()
    reopened = reopen(*found, registry, data=order.data, device=device, progress=progress)
    return with_source_masks(presented, reopened, registry, (order.fixed, order.moving), progress)
