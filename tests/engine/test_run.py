import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from regbench.api import Recipe, Silent
from regbench.data import read_field
from regbench.engine import Plan, load_weights, run
from regbench.engine.apart import own_settings
from regbench.engine.evaluation.evaluate import evaluate
from regbench.engine.seeds import derive
from regbench.errors import DataError, StorageError, WeightsError
from regbench.results import RunFolder, RunRecord, Store, read_cases

Make = Callable[..., Plan]


class Phases(Silent):
    """Remembers the phases and the notes."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.open = 0

    def started(self, phase: Any, total: float | None, unit: str) -> None:
        self.heard.append(phase)
        self.open += 1

    def done(self) -> None:
        self.open -= 1

    def note(self, sentence: str) -> None:
        self.heard.append(sentence)


def folder_of(store: Store, record: RunRecord) -> RunFolder:
    return store.folder(record.task, record.row, record.run_id)


def test_a_whole_run(make_plan: Make, store: Store, toys: ModuleType) -> None:
    told = Phases()
    plan = make_plan(toys.ToyMethod(fast=False), masks=toys.Halves(), save_fields=True)
    record = run(plan, store, told)
    folder = folder_of(store, record)
    assert record == folder.load()
    assert (record.status, record.reason, record.row) == ("done", None, "toy[-fast] + halves")
    assert told.heard == ["prepare", "masks", "train", "evaluate"]
    assert told.open == 0
    assert record.method.changed == {"fast": False}
    assert record.method.configuration["channels"] == 2
    assert record.masks is not None
    assert (record.masks.used, record.masks.trained_on) == ("training", "nothing")
    assert record.training is not None
    assert (record.training.steps, record.training.steps_done) == (12, 12)
    assert record.training.best_step in range(1, 13)
    assert record.cost.parameters == sum(
        tensor.numel()
        for name, tensor in safetensors.torch.load_file(folder.weights).items()
        if name.endswith(("weight", "bias"))
    )
    assert record.cost.wall_seconds.keys() == {"prepare", "masks", "train", "evaluate"}
    assert all(seconds >= 0 for seconds in record.cost.wall_seconds.values())
    assert record.cost.peak_memory_mib is not None
    assert record.data.kind == "phantom"
    assert record.protocol == plan.protocol
    assert record.files.keys() == {
        "best.safetensors",
        "cases.csv",
        "fields/disp_0001_0004.nii.gz",
        "fields/disp_0004_0001.nii.gz",
        "history.csv",
        "weights.safetensors",
    }
    assert record.files == folder.digests()
    assert not folder.state.exists()
    header, first = folder.history.read_text().splitlines()[:2]
    assert float(first.split(",")[header.split(",").index("segmentation")]) > 0


def test_the_evaluated_weights_are_those_on_disk(make_plan: Make, store: Store, toys: ModuleType) -> None:
    plan = make_plan(save_fields=True)
    record = run(plan, store)
    folder = folder_of(store, record)
    network = toys.ToyNetwork(2, 0.5)
    load_weights(folder.weights, network)
    network.eval()
    cohort = toys.load_cohort(plan.task, plan.folder, plan.protocol, cache=plan.cache)
    for pair in plan.protocol.test_pairs:
        seen = cohort.pair(pair)
        with torch.no_grad():
            u = network(seen.moving.data[None, None], seen.fixed.data[None, None])[0]
        kept = read_field(folder.fields / f"disp_{pair.fixed}_{pair.moving}.nii.gz")
        assert torch.equal(kept.displacement, u)
        assert u.abs().max() > 1e-3


def test_a_byte_that_changed_in_the_weights_of_a_finished_run_is_seen(make_plan: Make, store: Store) -> None:
    plan = make_plan()
    folder = folder_of(store, run(plan, store))
    before = folder.cases.read_bytes()
    content = bytearray(folder.weights.read_bytes())
    content[-1] ^= 1
    folder.weights.write_bytes(content)
    with pytest.raises(WeightsError, match=r"were changed after their run wrote them.*--force"):
        run(replace(plan, save_fields=True), store)
    with pytest.raises(WeightsError, match="were changed after their run wrote them"):
        run(replace(plan, refine=1), store)
    assert folder.cases.read_bytes() == before
    assert {record.refine: record.status for _, record in store.list()} == {0: "done", 1: "failed"}


def test_a_run_whose_folder_was_moved_away_while_it_was_evaluated_is_not_done(
    make_plan: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()

    def moved(*args: Any, **options: Any) -> Any:
        store.root.rename(store.root.with_name("moved"))
        return evaluate(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("regbench.engine.sitting.evaluate", moved)
        with pytest.raises(StorageError, match=r"weights\.safetensors is gone.*moved or removed"):
            run(plan, store)
    assert [record.status for _, record in store.list()] == []
    assert run(plan, store).status == "done"


def test_weights_that_do_not_fit_are_named(toys: ModuleType, tmp_path: Path) -> None:
    network = toys.ToyNetwork(2, 0.5)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(toys.ToyNetwork(3, 0.5).state_dict(), path)
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(path, network)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(path, network)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path / "none", network)


def test_the_same_plan_gives_the_same_rows_and_another_seed_others(make_plan: Make, tmp_path: Path) -> None:
    plan = make_plan()
    records = [run(replace(plan, seed=seed), Store(tmp_path / name)) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    a, b, c = (folder_of(Store(tmp_path / n), r).weights.read_bytes() for n, r in zip("abc", records, strict=True))
    assert a == b != c


def test_a_finished_run_is_not_run_again_unless_forced(make_plan: Make, store: Store) -> None:
    plan = make_plan()
    record = run(plan, store)
    told = Phases()
    assert run(plan, store, told) == record
    assert told.heard == []
    forced = run(plan, store, told, force=True)
    assert told.heard == ["prepare", "train", "evaluate"]
    assert forced.files.keys() == record.files.keys()
    assert forced.files["cases.csv"] == record.files["cases.csv"]


def test_a_metric_that_a_finished_run_lacks_is_added_without_training(
    make_plan: Make, store: Store, toys: ModuleType
) -> None:
    plan = make_plan(metrics={"dsc": toys.Overlap()})
    first = run(plan, store)
    told = Phases()
    more = replace(plan, metrics={"dsc": toys.Overlap(), "roundtrip": toys.Roundtrip()}, save_fields=True)
    second = run(more, store, told)
    assert told.heard == ["prepare", "evaluate"]
    assert second.metrics.keys() == {"dsc", "roundtrip"}
    rows = read_cases(folder_of(store, second).cases)
    assert {row.metric for row in rows} == {"dsc", "roundtrip"}
    assert second.files["weights.safetensors"] == first.files["weights.safetensors"]
    assert "fields/disp_0001_0004.nii.gz" in second.files
    assert run(plan, store) == second
    broken = replace(plan, metrics={"dsc": toys.Overlap(), "other": toys.Overlap(broken=True)})
    assert run(broken, store, told) == second
    assert "could not be scored again: The metric other failed on pair 0001_0004" in told.heard[-1]
    assert folder_of(store, second).load() == second


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nan", r"Training diverged at step 3: the loss term 'smooth' is nan"),
        ("gradient", r"Training diverged at step 3: the loss term 'gradient' is"),
        ("raise", r"In the phase 'train': RuntimeError: the toy broke"),
        ("no weight", r"The loss term 'other' has no weight"),
    ],
)
def test_a_method_that_fails_is_recorded_and_tried_again(
    make_plan: Make, store: Store, toys: ModuleType, what: str, reason: str
) -> None:
    plan = make_plan(toys.ToyMethod(at=3, what=what))
    record = run(plan, store)
    folder = folder_of(store, record)
    assert record == folder.load()
    assert record.status == "failed"
    assert record.reason is not None
    assert record.reason.startswith(reason)
    assert "\n" not in record.reason
    assert record.finished is not None
    assert "Traceback" in folder.failure.read_text()
    assert not folder.cases.exists()
    told = Phases()
    assert run(plan, store, told).status == "failed"
    assert "train" in told.heard


def test_a_failed_run_that_then_works_leaves_no_trace_of_its_failure(
    make_plan: Make, store: Store, toys: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(toys.ToyMethod(at=3, what="raise"))
    assert run(plan, store).status == "failed"
    monkeypatch.setattr(toys.ToyMethod, "_trouble", lambda self, term: {})
    record = run(plan, store)
    assert (record.status, record.reason) == ("done", None)
    assert not folder_of(store, record).failure.exists()


@pytest.mark.parametrize("what", ["sigint", "interrupt"])
def test_ctrl_c_is_recorded_and_raised_and_the_run_goes_on_later(
    make_plan: Make, store: Store, toys: ModuleType, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = make_plan(toys.ToyMethod(at=5, what=what))
    with pytest.raises(KeyboardInterrupt):
        run(plan, store)
    ((folder, record),) = store.list()
    assert record.status == "interrupted"
    assert json.loads((folder.path / "run.json").read_text())["status"] == "interrupted"
    assert folder.state.exists() == (what == "sigint")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr(toys.ToyMethod, "_trouble", lambda self, term: {})
    resumed = run(plan, store)
    whole = run(plan, Store(tmp_path / "whole"))
    assert resumed.status == "done"
    assert resumed.started == record.started
    for name in ("weights.safetensors", "best.safetensors", "cases.csv"):
        assert resumed.files[name] == whole.files[name]


def test_an_interrupted_run_goes_on_with_as_many_threads_as_it_began_with(
    make_plan: Make, store: Store, toys: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, threads = make_plan(toys.ToyMethod(at=5, what="sigint")), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        run(plan, store)
    monkeypatch.setattr(toys.ToyMethod, "_trouble", lambda self, term: {})
    with own_settings():
        torch.set_num_threads(threads + 1)
        assert run(plan, store).machine.threads == threads, "sums in another order round otherwise"
        assert torch.get_num_threads() == threads + 1


def test_a_finished_run_is_scored_again_on_as_many_threads_as_it_was(
    make_plan: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, threads, seen = make_plan(), torch.get_num_threads(), []

    def noting(*args: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return evaluate(*args, **options)

    monkeypatch.setattr("regbench.engine.sitting.evaluate", noting)
    run(plan, store)
    with own_settings():
        torch.set_num_threads(threads + 1)
        run(replace(plan, save_fields=True), store)
    assert seen == [threads, threads]


def test_no_room_left_inside_of_a_method_is_no_failure_of_it(make_plan: Make, store: Store, toys: ModuleType) -> None:
    with pytest.raises(StorageError, match="no space left"):
        run(make_plan(toys.ToyMethod(at=2, what="full")), store)
    ((_, record),) = store.list()
    assert record.status == "interrupted"


def test_nowhere_to_write_is_said(make_plan: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        run(make_plan(), Store(tmp_path / "file"))


def test_unusable_data_is_raised_and_leaves_no_record(make_plan: Make, store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        run(replace(make_plan(), folder=tmp_path / "empty"), store)
    assert len(store.list()) == 0


def test_a_broken_record_of_the_very_run_is_named_and_can_be_forced(make_plan: Make, store: Store) -> None:
    plan = make_plan()
    record = run(plan, store)
    (folder_of(store, record).path / "run.json").write_text("{")
    with pytest.raises(StorageError, match=r"run\.json is no run record"):
        run(plan, store)
    assert run(plan, store, force=True).status == "done"


def test_masks_that_are_needed_and_missing_skip_the_run(make_plan: Make, store: Store, toys: ModuleType) -> None:
    record = run(make_plan(toys.MaskedToy()), store)
    assert record.status == "skipped"
    assert record.reason is not None
    assert "--masks" in record.reason
    with_masks = run(make_plan(toys.MaskedToy(), masks=toys.Halves()), store)
    assert with_masks.status == "done"
    assert with_masks.masks is not None
    assert (with_masks.row, with_masks.masks.used) == ("toy", "training and test")


def test_what_was_skipped_is_tried_again(
    make_plan: Make, store: Store, toys: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(toys.Shift(skips=("all",)))
    assert run(plan, store).status == "skipped"
    monkeypatch.setattr(toys.Shift, "skip", lambda self, pair: None)
    told = Phases()
    record = run(plan, store, told)
    assert (record.status, record.reason) == ("done", None)
    assert told.heard[0] == "It was tried before and skipped; trying again."


def test_out_of_scope_everywhere_is_skipped_before_training(make_plan: Make, store: Store, toys: ModuleType) -> None:
    told = Phases()
    record = run(make_plan(toys.Shift(skips=("all",))), store, told)
    assert (record.status, record.reason) == ("skipped", "Every test pair is out of scope: the toy does not like it")
    assert told.heard == ["prepare"]


def test_a_method_without_training(make_plan: Make, store: Store, toys: ModuleType) -> None:
    record = run(make_plan(toys.Shift(), masks=toys.Halves()), store)
    folder = folder_of(store, record)
    assert record.status == "done"
    assert (record.training, record.masks, record.cost.parameters) == (None, None, None)
    assert not record.method.trainable
    assert record.cost.peak_memory_mib is not None
    assert record.files.keys() == {"cases.csv"}
    again = run(replace(make_plan(toys.Shift()), metrics={"new": toys.Overlap()}), store)
    assert {row.metric for row in read_cases(folder.cases)} == {"new"} == again.metrics.keys()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("raise", "In the phase 'evaluate', pair 0001_0004: ValueError: cannot shift (see traceback.txt beside"),
        ("exit", "In the phase 'evaluate': SystemExit: 3"),
        ("memory", "In the phase 'evaluate', pair 0001_0004: RuntimeError: the memory is not enough"),
        ("nan", r"The field of pair 0001_0004 is not finite in 1 of 5040 values"),
        ("shape", "In the phase 'evaluate', pair 0001_0004: ValueError: A field on a grid of"),
        ("grid", "The field of pair 0001_0004 is on another grid"),
        ("type", "For pair 0001_0004 the method gave a Tensor"),
    ],
)
def test_a_field_that_is_none_fails_with_its_reason(
    make_plan: Make, store: Store, toys: ModuleType, wrong: str, reason: str
) -> None:
    record = run(make_plan(toys.Shift(wrong=wrong)), store)
    assert record.status == "failed"
    assert record.reason is not None
    assert record.reason.startswith(reason)


def test_a_broken_metric_fails_by_name(make_plan: Make, store: Store, toys: ModuleType) -> None:
    record = run(make_plan(toys.Shift(), metrics={"dsc": toys.Overlap(broken=True)}), store)
    assert record.status == "failed"
    assert record.reason == "The metric dsc failed on pair 0001_0004: ZeroDivisionError: broken metric"


def test_a_failure_after_the_training_does_not_train_again(make_plan: Make, store: Store, toys: ModuleType) -> None:
    plan = make_plan()
    broken = replace(plan, metrics={"dsc": toys.Overlap(broken=True)})
    assert run(broken, store).status == "failed"
    ((folder, _),) = store.list()
    before = folder.weights.stat().st_mtime_ns
    assert run(plan, store).status == "done"
    assert folder.weights.stat().st_mtime_ns == before


def test_a_time_budget(make_plan: Make, store: Store, toys: ModuleType) -> None:
    record = run(make_plan(toys.ToyMethod(what="slow"), budget_seconds=0.3), store)
    assert record.training is not None
    assert 1 <= record.training.steps_done == record.training.steps <= 6
    assert record.training.budget_seconds == 0.3
    assert record.cost.wall_seconds["train"] >= 0.3


def test_every_pair_in_both_directions_with_flips(make_plan: Make, store: Store, toys: ModuleType) -> None:
    """The batches that the losses get, against pairs, directions and axes drawn by hand."""
    recipe = Recipe(
        weights={"similarity": 1.0, "smooth": 1.0, "segmentation": 1.0},
        steps=8,
        batch_size=2,
        both_directions=True,
        flips=True,
    )
    seen = []

    class Watching(toys.ToyMethod):  # type: ignore[name-defined, misc]
        def losses(self, network: Any, batch: Any) -> Any:
            seen.append(batch)
            return super().losses(network, batch)

    plan = make_plan(Watching(), recipe=recipe, masks=toys.Halves())
    assert run(plan, store).status == "done"
    cohort = toys.load_cohort(plan.task, plan.folder, plan.protocol, cache=plan.cache)
    a, b = (cohort.image(scan).data for scan in ("0002", "0003"))
    assert len({batch.seed for batch in seen}) == len(seen) == 8
    for step, batch in enumerate(seen):
        bits = derive(0, "flips", step // 2)
        dims = [axis for axis in range(3) if bits >> axis & 1]
        assert batch.fixed.shape == (2, 1, *cohort.setting.shape)
        rows = [(f[0].flip(dims), m[0].flip(dims)) for f, m in zip(batch.fixed, batch.moving, strict=True)]
        kinds = [torch.equal(fixed, a) and torch.equal(moving, b) for fixed, moving in rows]
        others = [torch.equal(fixed, b) and torch.equal(moving, a) for fixed, moving in rows]
        assert [x ^ y for x, y in zip(kinds, others, strict=True)] == [True, True]
        assert sum(kinds) == 1
        if step % 2:
            assert torch.equal(batch.fixed, seen[step - 1].moving)
            assert torch.equal(batch.moving, seen[step - 1].fixed)
        half = batch.fixed_mask.flip([dim + 2 for dim in dims])
        assert half[:, :, :6].eq(1).all()
        assert half[:, :, 6:].eq(0).all()
    assert any(derive(0, "flips", turn) & 7 for turn in range(4))
