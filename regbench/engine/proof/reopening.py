"""A finished run opened again: its method, its cohort, its fields."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from regbench.api import Field, MaskSource, Method, Pair, PairId, Protocol, Setting, Task, Trainable
from regbench.api.progress import Progress, Silent, during
from regbench.data import Cohort, fingerprint, found_scans, load_cohort, phantom_folder, read_field
from regbench.engine.apart import threads_of
from regbench.engine.devices import resolve_device
from regbench.engine.evaluation.evaluate import Register, checked, in_order, seen_pair
from regbench.engine.evaluation.refinement import refining
from regbench.engine.masks import add_masks, numbers_of_masks, other_masks
from regbench.engine.plan import Chosen
from regbench.engine.proof.given import FIELDS, GivenFields
from regbench.engine.records.outside import placed
from regbench.engine.records.run_id import pairs_digest
from regbench.engine.records.source import source_digest
from regbench.engine.seeds import derive, own_randomness
from regbench.engine.training.checkpoint import load_weights
from regbench.engine.training.train import new_network
from regbench.errors import BadValueError, DataError, PluginError, UnknownNameError
from regbench.registry import Kind, Plugin, Registry, configure
from regbench.results import MasksRecord, MethodRecord, RunFolder, RunRecord, pair_name

P = TypeVar("P", Method, MaskSource)

_PHANTOM_SEED = 0


@dataclass(frozen=True, eq=False)
class Reopened:
    """A finished run opened again.

    Attributes:
        folder: where it is kept.
        record: as it was read.
        task: installed.
        method: configured as the record says; for fields that were made elsewhere, one that registers nothing.
        cohort: on the device, with masks if the method looks at them at test.
        notes: see `differences`; and that the masks are not those that the run saw, if they are not.
    """

    folder: RunFolder
    record: RunRecord
    task: Task
    method: Method
    cohort: Cohort
    notes: tuple[str, ...] = ()

    def register(self, pair: Pair) -> Field:
        """Register a pair as the run did; the network is built from the stored weights at the first call.

        Args:
            pair: on the cohort's device and of its shape; masks count only if the method looks at them at test.

        Raises:
            WeightsError: where the run's weights are gone or do not fit.
            RunError: where the method gives no usable field.
        """
        return self._register(pair if self.method.masks == "always" else pair.without_masks(), "pair", 0)

    def field(self, pair_id: PairId) -> Field:
        """The run's field of a pair of the cohort: the stored one, or else the pair is registered again.

        Raises:
            UnknownNameError: for a scan that is not of the cohort.
            DataError: where the stored field cannot be read or lies on another grid.
            RunError, WeightsError: where it has to be registered again and cannot be.
        """
        path = self.stored_field(pair_id)
        if path is None:
            return self.registered(pair_id)
        field, grid = read_field(path), self.cohort.image(pair_id.fixed).grid
        if not field.grid.matches(grid):
            raise DataError([f"{path} lies on another grid than the fixed scan {pair_id.fixed}; restore the file."])
        return Field(field.displacement.to(self.cohort.device), grid)

    def registered(self, pair_id: PairId) -> Field:
        """A pair of the cohort registered again, a test pair with the random numbers that it got in the run.

        Raises:
            UnknownNameError: for a scan that is not of the cohort.
            RunError, WeightsError: where that cannot be done.
        """
        pair = seen_pair(self.method, self.cohort, pair_id)
        return self._register(pair, pair_name(pair_id), self._turn(pair_id))

    def stored_field(self, pair_id: PairId) -> Path | None:
        """The file of a pair's field, if it was kept."""
        path = self.folder.fields / f"disp_{pair_name(pair_id)}.nii.gz"
        return path if path.is_file() else None

    @cached_property
    def _registering(self) -> Register:
        register = trained(self.method, self.cohort, self.folder, self.record)
        return refining(register, self.record.refine)

    def _register(self, pair: Pair, name: str, turn: int) -> Field:
        registering = self._registering
        with own_randomness(self.cohort.device):
            torch.manual_seed(derive(self.record.seed, "pair", turn))
            return checked(registering(pair), pair, name, self.cohort.device)

    @property
    def pairs(self) -> list[PairId]:
        """The test pairs that the run registered, in the order of the protocol."""
        skipped = {pair for pair, _ in self.record.pairs_skipped}
        return [pair for pair in self.record.protocol.test_pairs if pair not in skipped]

    def _turn(self, pair_id: PairId) -> int:
        """The place of a pair among those that the run registered, in its order."""
        order = in_order(self.pairs)
        return order.index(pair_id) if pair_id in order else 0


def trained(method: Method, cohort: Cohort, folder: RunFolder, record: RunRecord) -> Register:
    """How a finished run's method registers: with the network of its weights, if it has one.

    Raises:
        WeightsError: where the weights cannot be read, do not fit, or are not those that the run wrote.
    """
    if not isinstance(method, Trainable):
        return method.register
    return partial(method.predict, trained_network(method, cohort.setting, cohort.device, folder, record))


def trained_network(
    method: Trainable, setting: Setting, device: torch.device, folder: RunFolder, record: RunRecord
) -> nn.Module:
    """The network of a finished run's weights, for a setting that need not be the run's.

    Raises:
        WeightsError: where the weights cannot be read, do not fit, or are not those that the run wrote.
    """
    network = new_network(method, setting, device, record.seed)
    load_weights(folder.weights, network, record.files.get(folder.weights.name))
    return network


def reopen(
    folder: RunFolder,
    record: RunRecord,
    registry: Registry,
    *,
    data: Path | None = None,
    device: torch.device | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Reopened:
    """Open a finished run again.

    Args:
        folder: where it is kept.
        record: its record.
        registry: of what is installed.
        data: the folder of the real scans, since a record keeps no paths; None: phantoms, which are made again.
        device: where to hold the cohort and to compute; None: on a GPU if the run was made on one and one is here, as
            masks are kept by the kind of device, else on the CPU.
        cache: the folder for phantoms, prepared cohorts and masks; None: the user's cache folder.
        progress: is told while scans are prepared and masks are made.

    Raises:
        BadValueError: if the run is not done, if `data` is given for phantoms or missing for real scans, or if the
            installed protocol has another revision or other pairs than the run's.
        DataError: if the scans are not those of the run, or cannot be used.
        PluginError: if a plugin of the run is not installed, or another distribution brings it.
    """
    refuse_unfinished(record)
    told = progress or Silent()
    device = device or resolve_device("auto" if record.machine.accelerator else "cpu")
    task = _task(registry, folder, record)
    _check_protocol(task, record)
    method = _method(registry, folder, record)
    place = _scans(task, record, data, cache)
    _check_fingerprint(task, place, record)
    with during("prepare", told):
        cohort = load_cohort(task, place, record.protocol, device=device, cache=cache)
    masked = _masked(cohort, task, registry, (folder, record), told, cache)
    notes = [*differences(registry, record), *filter(None, [other_masks(record.masks, masked)])]
    return Reopened(folder, record, task, method, masked, tuple(notes))


def refuse_unfinished(record: RunRecord) -> None:
    """Refuse a run that has not come to its end.

    Raises:
        BadValueError: unless it is done.
    """
    if record.status != "done":
        raise BadValueError(f"The run {record.run_id} is {record.status}, not done; run it to its end first.")


def phantoms_of(task_name: str, task: Task, protocol: Protocol, cache: Path | None = None) -> Path:
    """The folder of the phantoms that a protocol is run on, which are made where there are none yet."""
    shape, cases = protocol.grid.shape, len(protocol.patients)
    return phantom_folder(task_name, task, shape=shape, cases=cases, seed=_PHANTOM_SEED, cache=cache)


def _scans(task: Task, record: RunRecord, data: Path | None, cache: Path | None) -> Path:
    if record.data.kind == "phantom":
        if data is not None:
            raise BadValueError(f"The run {record.run_id} is on phantoms, which are made again; leave --data out.")
        return phantoms_of(record.task, task, record.protocol, cache)
    if data is None:
        raise BadValueError(f"The run {record.run_id} is on real scans; name their folder with --data DIR.")
    return data


def _check_protocol(task: Task, record: RunRecord) -> None:
    """Whether the run's protocol is still what the installed task means by its name."""
    ran = record.protocol
    here = task.protocols().get(ran.name)
    said = f"The run {record.run_id} was made by protocol {ran.name} of {record.task}"
    if pairs_digest(ran) != record.data.pairs:
        raise BadValueError(f"The record of run {record.run_id} contradicts itself: its pairs are not those of its "
                            "protocol; run it again with --force.")  # fmt: skip
    if here is None:
        raise BadValueError(f"{said}, which the installed version does not have; install the version of the run.")
    if here.revision != ran.revision:
        raise BadValueError(f"{said}, revision {ran.revision}; the installed one is revision {here.revision}.")
    if pairs_digest(here) != record.data.pairs:
        raise BadValueError(f"{said}, whose pairs differ from those of the installed protocol of that name.")


def _check_fingerprint(task: Task, place: Path, record: RunRecord) -> None:
    scans, faults = found_scans(task, place)
    if faults:
        raise DataError(faults)
    wanted = (*record.protocol.train, *record.protocol.test)
    if fingerprint(scans[scan] for scan in wanted if scan in scans) == record.data.fingerprint:
        return
    if record.data.kind == "phantom":
        raise DataError([f"The phantoms made here are not those of run {record.run_id}: their maker has changed since; "
                         "run it again."])  # fmt: skip
    raise DataError([f"The scans in {place} are not those of run {record.run_id}: their fingerprint differs; name the "
                     "folder that the run was made on."])  # fmt: skip


def _task(registry: Registry, folder: RunFolder, record: RunRecord) -> Task:
    kind = _plugin(registry, "task", record.task, record, None).load()
    task: Task = configure(kind, placed("task", kind, record.data.settings, folder))
    return task


def _method(registry: Registry, folder: RunFolder, record: RunRecord) -> Method:
    if record.method.distribution == FIELDS:
        return GivenFields()
    made: Method = chosen_by(registry, "method", record.method, folder, record).instance
    return made


def _masked(
    cohort: Cohort,
    task: Task,
    registry: Registry,
    run: tuple[RunFolder, RunRecord],
    progress: Progress,
    cache: Path | None,
) -> Cohort:
    """The cohort with what the method saw of masks at test: all of them, or the numbers of their labels."""
    folder, record = run
    if record.masks is None:
        return cohort
    if record.masks.used == "training":
        return numbers_of_masks(cohort)
    source: Chosen[MaskSource] = chosen_by(registry, "masks", record.masks, folder, record)
    with threads_of(record.machine, cohort.device):  # they may have to be made again
        return add_masks(cohort, source, progress, modality=task.modality, cache=cache)


def differences(registry: Registry, record: RunRecord) -> tuple[str, ...]:
    """One sentence for each plugin that is not installed as a run had it: another version, or other code under it."""
    used: list[tuple[Kind, MethodRecord | MasksRecord | None]] = [("method", record.method), ("masks", record.masks)]
    found = []
    for kind, said in used:
        if said is None or said.distribution == FIELDS:
            continue
        here = registry.plugin(kind, said.name)
        if here.version != said.version:
            found.append(f"The {kind} '{said.name}' is installed in version {here.version}; the run was made with "
                         f"{said.version}.")  # fmt: skip
        elif isinstance(said, MethodRecord) and said.source not in (None, source_digest(here.load())):
            found.append(f"The code of the {kind} '{said.name}' has changed since the run was made, though its version "
                         f"is still {said.version}.")  # fmt: skip
    return tuple(found)


def chosen_by(
    registry: Registry, kind: Kind, said: MethodRecord | MasksRecord, folder: RunFolder, record: RunRecord
) -> Chosen[P]:
    """The method or the mask source that a run was made with, configured as its record says.

    Raises:
        PluginError: where it is not installed, or another distribution brings it.
        DataError: where a file that it was given is not there any more, or is another one.
    """
    plugin = _plugin(registry, kind, said.name, record, said)
    make: Callable[..., P] = configure
    found = plugin.load()
    return Chosen(plugin, make(found, placed(kind, found, said.configuration, folder)))


def _plugin(
    registry: Registry, kind: Kind, name: str, record: RunRecord, said: MethodRecord | MasksRecord | None
) -> Plugin:
    """The installed plugin of a name, if it comes from where the record says."""
    origin = f" of {said.distribution} {said.version}" if said else ""
    try:
        plugin = registry.plugin(kind, name)
    except UnknownNameError as error:
        raise PluginError(
            f"The run {record.run_id} needs the {kind} '{name}'{origin}, which is not installed; install it, or name "
            "its file with --plugin."
        ) from error
    if said and plugin.distribution != said.distribution:
        raise PluginError(
            f"The run {record.run_id} needs the {kind} '{name}'{origin}; the installed one is of {plugin.distribution}."
        )
    return plugin
