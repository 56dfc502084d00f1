import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regbench.api import PairId, Task
from regbench.data import read_field
from regbench.engine import Plan, Reopened, reopen, run
from regbench.engine.apart import own_settings
from regbench.engine.proof.reopening import differences, phantoms_of
from regbench.engine.records.run_id import content_digest
from regbench.errors import BadValueError, DataError, PluginError, RunError, UnknownNameError, WeightsError
from regbench.registry import Plugin, Registry
from regbench.results import DataRecord, RunFolder, RunRecord, Store

Make = Callable[..., Plan]
PAIRS = [PairId("0001", "0004"), PairId("0004", "0001")]


@pytest.fixture
def registry() -> Registry:
    """One that knows the toy task, whose phantoms are blobs, and the engine's toys."""
    registry = Registry()
    for kind, name, target in (
        ("task", "toy", "regbench_tests_toy:ToyTask"),
        ("method", "toy", "regbench_engine_toys:ToyMethod"),
        ("method", "masked", "regbench_engine_toys:MaskedToy"),
        ("method", "shift", "regbench_engine_toys:Shift"),
        ("masks", "halves", "regbench_engine_toys:Halves"),
    ):
        registry._add(Plugin(kind, name, "toys", "1.0", target))
    return registry


@pytest.fixture
def on_phantoms(toy_task: Task, toys: ModuleType, tmp_path: Path) -> Make:
    """Plans on the phantoms that a run without --data makes."""

    def make(method: object, name: str = "toy", **changes: object) -> Plan:
        protocol = toy_task.protocols()["phantom"]
        folder = phantoms_of("toy", toy_task, protocol.at(protocol.quick_shape), tmp_path / "cache")
        changes = {"cache": tmp_path / "cache", **changes}
        plan = toys.plan(toy_task, folder, method, **changes)
        return replace(plan, method=toys.chosen("method", method, name))

    return make


def again(store: Store, registry: Registry, record: RunRecord, tmp_path: Path, data: Path | None = None) -> Reopened:
    return reopen(folder_of(store, record), record, registry, data=data, cache=tmp_path / "cache")


def folder_of(store: Store, record: RunRecord) -> RunFolder:
    return store.folder(record.task, record.row, record.run_id)


def stored(store: Store, record: RunRecord, pair: PairId) -> torch.Tensor:
    return read_field(folder_of(store, record).fields / f"disp_{pair.fixed}_{pair.moving}.nii.gz").displacement


def forget_fields(store: Store, record: RunRecord) -> None:
    for file in folder_of(store, record).fields.iterdir():
        file.unlink()


@pytest.mark.parametrize("with_masks", [False, True])
def test_weights_give_the_fields_of_the_run(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path, with_masks: bool
) -> None:
    masks = toys.Halves() if with_masks else None
    record = run(on_phantoms(toys.ToyMethod(channels=3), masks=masks, save_fields=True, seed=5), store)
    before = {pair: stored(store, record, pair) for pair in PAIRS}
    forget_fields(store, record)
    opened = again(store, registry, record, tmp_path)
    assert opened.method == toys.ToyMethod(channels=3)
    assert opened.notes == ()
    assert opened.cohort.masks is None, "a method that looks at masks in training only needs none to register"
    assert opened.cohort.setting.labels == ((1, 2, 3) if with_masks else ())
    for pair in PAIRS:
        assert torch.equal(opened.field(pair).displacement, before[pair])
        assert before[pair].abs().max() > 0
        assert torch.equal(opened.register(opened.cohort.pair(pair)).displacement, before[pair])


def test_a_method_that_looks_at_masks_gets_them(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    record = run(on_phantoms(toys.MaskedToy(), "masked", masks=toys.Halves(), save_fields=True), store)
    before = stored(store, record, PAIRS[0])
    forget_fields(store, record)
    opened = again(store, registry, record, tmp_path)
    assert opened.cohort.masks is not None
    assert torch.equal(opened.field(PAIRS[0]).displacement, before)


def test_masks_that_are_gone_are_made_again_on_the_threads_of_the_run(
    on_phantoms: Make,
    toys: ModuleType,
    store: Store,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, seen, masks = torch.get_num_threads(), [], toys.Halves.masks

    def noting(source: object, request: object) -> object:
        seen.append(torch.get_num_threads())
        return masks(source, request)

    monkeypatch.setattr(toys.Halves, "masks", noting)
    record = run(on_phantoms(toys.MaskedToy(), "masked", masks=toys.Halves()), store)
    shutil.rmtree(tmp_path / "cache" / "masks")
    with own_settings():
        torch.set_num_threads(threads + 1)
        again(store, registry, record, tmp_path)
        assert torch.get_num_threads() == threads + 1
    assert seen == [threads, threads]


def test_files_from_outside_are_known_by_content_and_not_by_path(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "of a patient" / "map"
    file.parent.mkdir()
    file.write_text("one")
    record = run(on_phantoms(toys.MaskedToy(), "masked", masks=toys.Halves(file=file)), store)
    folder = folder_of(store, record)
    assert str(tmp_path) not in (folder.path / "run.json").read_text()
    assert record.masks is not None
    assert record.masks.configuration["file"] == f"map@{content_digest(file)[:12]}"
    assert again(store, registry, record, tmp_path).cohort.masks is not None
    file.write_text("two")
    with pytest.raises(DataError, match=r"'map' .* as masks\.file, and .*map is not that any more"):
        again(store, registry, record, tmp_path)
    file.write_text("one")
    folder.places.unlink()
    with pytest.raises(DataError, match="does not say where that lies"):
        again(store, registry, record, tmp_path)
    masks = record.masks.model_copy(update={"configuration": {**record.masks.configuration, "file": str(file)}})
    older = record.model_copy(update={"masks": masks})
    assert again(store, registry, older, tmp_path).cohort.masks is not None, "older records have the path in full"


def test_a_method_that_draws_random_numbers_draws_them_again(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    record = run(on_phantoms(toys.Shift(wrong="random"), "shift", save_fields=True), store)
    before = {pair: stored(store, record, pair) for pair in PAIRS}
    forget_fields(store, record)
    opened = again(store, registry, record, tmp_path)
    state = torch.get_rng_state()
    for pair in reversed(PAIRS):
        assert torch.equal(opened.field(pair).displacement, before[pair])
    assert torch.equal(torch.get_rng_state(), state)


def test_stored_fields_come_first(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    record = run(on_phantoms(toys.ToyMethod(), save_fields=True), store)
    folder_of(store, record).weights.unlink()
    opened = again(store, registry, record, tmp_path)
    assert torch.equal(opened.field(PAIRS[0]).displacement, stored(store, record, PAIRS[0]))
    with pytest.raises(WeightsError):
        opened.field(PairId("0002", "0003"))
    with pytest.raises(UnknownNameError, match="scan of the cohort"):
        opened.field(PairId("0001", "9999"))


def test_real_scans(
    make_plan: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path, toy_folder: Path
) -> None:
    record = run(make_plan(toys.ToyMethod(), data="real", save_fields=True), store)
    opened = again(store, registry, record, tmp_path, toy_folder)
    assert opened.cohort.fingerprint == record.data.fingerprint
    with pytest.raises(BadValueError, match="--data DIR"):
        again(store, registry, record, tmp_path)
    other = tmp_path / "other"
    opened.task.phantom(other, cases=4, seed=0, shape=(12, 10, 14))
    with pytest.raises(DataError, match="are not those of run"):
        again(store, registry, record, tmp_path, other)
    with pytest.raises(DataError, match="is no folder"):
        again(store, registry, record, tmp_path, tmp_path / "nowhere")


def test_what_does_not_fit_is_refused(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path, toy_folder: Path
) -> None:
    record = run(on_phantoms(toys.ToyMethod()), store)
    protocol = record.protocol

    def refused(error: type[Exception], match: str, place: Path | None = None, **changes: object) -> None:
        with pytest.raises(error, match=match):
            again(store, registry, record.model_copy(update=changes), tmp_path, place)

    refused(BadValueError, "interrupted, not done", status="interrupted")
    refused(BadValueError, "leave --data out", toy_folder)
    refused(BadValueError, "revision 2; the installed", protocol=protocol.model_copy(update={"revision": 2}))
    refused(BadValueError, "contradicts itself", protocol=protocol.model_copy(update={"test_pairs": PAIRS[:1]}))
    refused(BadValueError, "does not have; install", protocol=protocol.model_copy(update={"name": "other"}))
    refused(DataError, "phantoms made here", data=DataRecord(kind="phantom", fingerprint="x", pairs=record.data.pairs))
    refused(PluginError, "needs the method 'gone' of toys 1.0",
            method=record.method.model_copy(update={"name": "gone"}))  # fmt: skip
    refused(PluginError, "the installed one is of toys", method=record.method.model_copy(update={"distribution": "x"}))
    refused(UnknownNameError, "field of ToyMethod", method=record.method.model_copy(update={"configuration": {"x": 1}}))


def test_another_version_is_said(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    record = run(on_phantoms(toys.Shift(), "shift"), store)
    older = record.model_copy(update={"method": record.method.model_copy(update={"version": "0.9"})})
    (note,) = again(store, registry, older, tmp_path).notes
    assert note == "The method 'shift' is installed in version 1.0; the run was made with 0.9."


def test_other_code_under_the_same_version_is_said(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry
) -> None:
    record = run(on_phantoms(toys.Shift(), "shift"), store)

    def said(source: str | None) -> tuple[str, ...]:
        return differences(
            registry, record.model_copy(update={"method": record.method.model_copy(update={"source": source})})
        )

    assert differences(registry, record) == said(None) == ()
    (note,) = said("0" * 64)
    assert note == "The code of the method 'shift' has changed since the run was made, though its version is still 1.0."


def test_other_pairs_of_the_same_protocol_are_refused(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path, toy_task: Task
) -> None:
    protocol = toy_task.protocols()["phantom"]
    fewer = protocol.at(protocol.quick_shape).model_copy(update={"test_pairs": tuple(PAIRS[:1])})
    record = run(on_phantoms(toys.Shift(), "shift", protocol=fewer), store)
    with pytest.raises(BadValueError, match="whose pairs differ"):
        again(store, registry, record, tmp_path)


def test_fields_made_elsewhere_are_not_registered_again(
    on_phantoms: Make, toys: ModuleType, store: Store, registry: Registry, tmp_path: Path
) -> None:
    record = run(on_phantoms(toys.Shift(), "shift", save_fields=True), store)
    given = record.model_copy(
        update={"method": record.method.model_copy(update={"name": "mine", "distribution": "fields"})}
    )
    opened = again(store, registry, given, tmp_path)
    assert opened.field(PAIRS[0]).displacement.abs().max() == 0
    with pytest.raises(RunError, match="made elsewhere"):
        opened.register(opened.cohort.pair(PAIRS[0]))


def test_what_was_run_on_a_gpu_is_opened_on_one(
    on_phantoms: Make,
    store: Store,
    registry: Registry,
    toys: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Masks are kept by the kind of device: on another one they would be made anew, and be others."""
    asked = []

    def resolved(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("regbench.engine.proof.reopening.resolve_device", resolved)
    record = run(on_phantoms(toys.Shift(), "shift"), store)
    for accelerator in (None, "a GPU"):
        machine = record.machine.model_copy(update={"accelerator": accelerator})
        again(store, registry, record.model_copy(update={"machine": machine}), tmp_path)
    assert asked == ["cpu", "auto"]
