"""From the words of `regbench run` to plans, all of them checked before the first one is run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch

from regbench.api import MaskSource, Method, Metric, Preset, Protocol, Recipe, Task, Trainable
from regbench.cli.lookup import find_protocol
from regbench.cli.settings import Settings, with_settings, with_steps
from regbench.data import fitting_protocol, found_scans
from regbench.engine import Chosen, Plan
from regbench.engine.plan import recipe_of
from regbench.engine.precision import usual_precision
from regbench.engine.proof.reopening import phantoms_of
from regbench.errors import BadValueError, DataError, PluginError, UnknownNameError
from regbench.registry import Kind, Registry, configure

BASELINE = "identity"
DEFAULT_MASKS = "segmenter"
NO_MASKS = "none"
PHANTOM = "phantom"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for, read but not yet looked up.

    Attributes:
        tasks: names.
        methods: names.
        masks: names of mask sources; "none" for none; empty: only where a method cannot do without.
        folders: task → folder of real scans; phantoms for any other.
        protocol: a name, or None for the default.
        preset: which recipe and grid.
        steps: instead of the recipe's; or None.
        budget_seconds: instead of steps; or None.
        refine: steps of instance optimisation after each registration of a requested method at test.
        seeds: one run of a trained method for each.
        settings: overrides.
        device: where to compute.
        save_fields: whether displacement fields are kept.
    """

    tasks: Sequence[str]
    methods: Sequence[str]
    masks: Sequence[str] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    protocol: str | None = None
    preset: Preset = "quick"
    steps: int | None = None
    budget_seconds: float | None = None
    refine: int = 0
    seeds: Sequence[int] = (0,)
    settings: Settings = field(default_factory=Settings)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    save_fields: bool = False


@dataclass(frozen=True)
class Stage:
    """A task on its scans and its grid."""

    name: str
    task: Task
    protocol: Protocol
    data: Literal["phantom", "real"]
    folder: Path


def names_of(registry: Registry, kind: Kind, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that are meant, "all" being every one that can be used, and one sentence for each that cannot.

    Raises:
        UnknownNameError: for a name that nobody knows.
        PluginError: for a plugin that was asked for by name and cannot be used.
    """
    names: dict[str, None] = {}
    broken: Mapping[str, str] = {}
    for name in wanted:
        if name == "all":
            broken = registry.broken(kind)
            names |= dict.fromkeys(n for n in registry.names(kind) if n not in broken)
        else:
            registry.load(kind, name)
            names[name] = None
    return list(names), list(broken.values())


def masks_meant(methods: Sequence[str], masks: Sequence[str]) -> Sequence[str]:
    """The mask sources that are meant: those named; where all methods are asked for, each without and with masks.

    >>> masks_meant(["all"], []), masks_meant(["ours"], []), masks_meant(["all"], ["truth"])
    (['none', 'segmenter'], [], ['truth'])
    """
    return masks or ([NO_MASKS, DEFAULT_MASKS] if "all" in methods else [])


def usable_metrics(registry: Registry) -> tuple[dict[str, Metric], list[str]]:
    """Every metric that can be used, and one sentence for each that cannot."""
    broken = registry.broken("metric")
    return {n: registry.load("metric", n)() for n in registry.names("metric") if n not in broken}, list(broken.values())


def stage(registry: Registry, name: str, wanted: Wanted) -> Stage:
    """A task with its protocol and its scans; phantoms are made where there are none yet.

    Raises:
        RequestError: for an unknown protocol or field, or scans that do not fit.
    """
    kind = registry.load("task", name)
    known = {*_field_names(kind), "grid"}
    for key in wanted.settings.task:
        if key not in known:
            raise UnknownNameError(f"field of {kind.__name__}", key, known)
    overrides = {key: value for key, value in wanted.settings.task.items() if key != "grid"}
    task: Task = configure(kind, overrides)
    folder = wanted.folders.get(name)
    protocol = _on_grid(_protocol(name, task, folder, wanted.protocol), wanted)
    if folder is not None:
        return Stage(name, task, protocol, "real", folder)
    return Stage(name, task, protocol, "phantom", phantoms_of(name, task, protocol))


def _protocol(name: str, task: Task, folder: Path | None, wanted: str | None) -> Protocol:
    chosen = find_protocol(name, task, wanted or (PHANTOM if folder is None else None))
    if (folder is None) != (chosen.name == PHANTOM):
        said = "needs real scans; give them with --data DIR" if folder is None else "is for phantoms; leave --data out"
        raise BadValueError(f"The protocol '{chosen.name}' {said}.")
    if folder is not None and wanted is None:
        _check_default(task, folder, chosen)
    return chosen


def _check_default(task: Task, folder: Path, default: Protocol) -> None:
    """Where the default protocol lacks scans and another one does not, say so before all the faults are counted."""
    scans, _ = found_scans(task, folder)
    if not scans or {*default.train, *default.test} <= scans.keys():
        return
    fitting = fitting_protocol(task, scans)
    if {*fitting.train, *fitting.test} <= scans.keys():
        raise DataError(
            [
                f"{folder} lacks scans of the default protocol {default.name}, but has those of {fitting.name}; "
                f"add --protocol {fitting.name}."
            ]
        )


def _on_grid(protocol: Protocol, wanted: Wanted) -> Protocol:
    shape = wanted.settings.grid or (protocol.quick_shape if wanted.preset == "quick" else None)
    return protocol.at(shape) if shape else protocol


def rows(registry: Registry, wanted: Wanted) -> list[tuple[Chosen[Method], Chosen[MaskSource] | None]]:
    """Every method with every mask source that it can use; the unregistered state is always among them, and first.

    Raises:
        RequestError: for a setting that no requested method has, or that does not fit.
    """
    methods = [_method(registry, name, wanted) for name in dict.fromkeys([BASELINE, *wanted.methods])]
    _refuse_unknown_fields(registry, wanted)
    for method in methods:
        _recipe(method.instance, wanted)  # a wrong one is refused before phantoms are made
    for name in wanted.masks:
        if name != NO_MASKS:
            registry.load("masks", name)
    return [(method, masks) for method in methods for masks in _sources(registry, method.instance, wanted)]


def without_recipe(registry: Registry, wanted: Wanted, names: Sequence[str]) -> dict[str, str]:
    """Name → reason of the methods among some that cannot say how they are trained.

    Raises:
        RequestError: for a setting that does not fit.
    """
    reasons = {}
    for name in names:
        try:
            _recipe(_method(registry, name, wanted).instance, wanted)
        except PluginError as error:
            reasons[name] = str(error)
    return reasons


def _method(registry: Registry, name: str, wanted: Wanted) -> Chosen[Method]:
    kind = registry.load("method", name)
    shared = wanted.settings.methods if name in wanted.methods else {}
    overrides = {key: value for key, value in shared.items() if key in _field_names(kind)}
    overrides |= wanted.settings.of_method.get(name, {})
    return _chosen(registry, "method", name, overrides, wanted)


def _chosen(registry: Registry, kind: Kind, name: str, settings: Mapping[str, Any], wanted: Wanted) -> Chosen[Any]:
    """A plugin with the preset's fields, and the user's settings above them."""
    found = registry.load(kind, name)
    usual = found.quick if wanted.preset == "quick" else {}
    return Chosen(registry.plugin(kind, name), configure(found, {**usual, **settings}), usual)


def _refuse_unknown_fields(registry: Registry, wanted: Wanted) -> None:
    known = {key for name in wanted.methods for key in _field_names(registry.load("method", name))}
    for key in wanted.settings.methods:
        if key not in known:
            owners = " or ".join(wanted.methods) if len(wanted.methods) < 4 else "the requested methods"
            hints = {f"{prefix}.…" for prefix in ("task", "masks", "recipe")}
            raise UnknownNameError(f"field of {owners}", key, known | hints)


def _field_names(kind: type[Any]) -> set[str]:
    return {f.name for f in fields(kind)}


def _sources(registry: Registry, method: Method, wanted: Wanted) -> Iterator[Chosen[MaskSource] | None]:
    if method.masks == "never":
        yield None
        return
    usual = [DEFAULT_MASKS] if method.masks == "always" and DEFAULT_MASKS in registry.names("masks") else [NO_MASKS]
    named = [name for name in wanted.masks if method.masks != "always" or name != NO_MASKS]
    for name in named or usual:
        if name == NO_MASKS:
            yield None
        else:
            yield mask_source(registry, name, wanted)


def mask_source(registry: Registry, name: str, wanted: Wanted) -> Chosen[MaskSource]:
    """A mask source with the preset's fields and the user's settings.

    Raises:
        RequestError: for one that is unknown, or a setting that it does not have or that does not fit.
    """
    return _chosen(registry, "masks", name, wanted.settings.masks, wanted)


def plans(registry: Registry, stage: Stage, wanted: Wanted, metrics: Mapping[str, Metric]) -> list[Plan]:
    """A task's plans: every row, every seed; what is not trained runs once.

    Raises:
        RequestError: for a setting that does not fit.
    """
    return [
        Plan(
            task_name=stage.name,
            task=stage.task,
            protocol=stage.protocol,
            data=stage.data,
            folder=stage.folder,
            method=method,
            masks=masks,
            recipe=recipe,
            preset=wanted.preset,
            budget_seconds=wanted.budget_seconds if recipe else None,
            refine=refine,
            seed=seed,
            device=wanted.device,
            precision=usual_precision(wanted.device) if recipe else "float32",
            metrics=metrics,
            save_fields=wanted.save_fields,
        )
        for method, masks in rows(registry, wanted)
        for recipe in [_recipe(method.instance, wanted)]
        for refine in _refinements(method.plugin.name, wanted)
        for seed in (wanted.seeds if recipe else wanted.seeds[:1])
    ]


def _refinements(name: str, wanted: Wanted) -> list[int]:
    """The refined row of a requested method, and always the plain one of the unregistered state."""
    plain = [0] if name == BASELINE or not wanted.refine else []
    return plain + ([wanted.refine] if wanted.refine and name in wanted.methods else [])


def _recipe(method: Method, wanted: Wanted) -> Recipe | None:
    if not isinstance(method, Trainable):
        return None
    return with_steps(with_settings(recipe_of(method, wanted.preset), wanted.settings.recipe), wanted.steps)


def needs_default_masks(registry: Registry, wanted: Wanted) -> list[str]:
    """The requested methods that get the default mask source because they cannot do without one."""
    if any(name != NO_MASKS for name in wanted.masks) or DEFAULT_MASKS not in registry.names("masks"):
        return []
    return [name for name in wanted.methods if registry.load("method", name).masks == "always"]
