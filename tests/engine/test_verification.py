from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regbench.api import Metric, PairId, Task
from regbench.api.progress import Silent
from regbench.data import Cohort, write_field
from regbench.engine import Plan, Reopened, reopen, run, score_fields, verify
from regbench.engine.evaluation.evaluate import evaluate
from regbench.engine.proof.reopening import phantoms_of
from regbench.engine.proof.verification import Tolerance
from regbench.errors import StorageError, WeightsError
from regbench.registry import Plugin, Registry
from regbench.results import Store, read_cases, write_cases

NO_BITS = Tolerance("none")


@pytest.fixture
def metrics(toys: ModuleType) -> Mapping[str, Metric]:
    return {"dsc": toys.Overlap(), "roundtrip": toys.Roundtrip()}


@pytest.fixture
def opened(toy_task: Task, toys: ModuleType, tmp_path: Path, store: Store) -> Callable[..., Reopened]:
    """A finished run of a toy on phantoms, opened again."""
    registry = Registry()
    for kind, name, target in (
        ("task", "toy", "regbench_tests_toy:ToyTask"),
        ("method", "toy", "regbench_engine_toys:ToyMethod"),
        ("method", "shift", "regbench_engine_toys:Shift"),
    ):
        registry._add(Plugin(kind, name, "toys", "1.0", target))

    def make(method: object = None, name: str = "toy", **changes: object) -> Reopened:
        protocol = toy_task.protocols()["phantom"]
        cache = tmp_path / "cache"
        scans = phantoms_of("toy", toy_task, protocol.at(protocol.quick_shape), cache)
        method = method or toys.ToyMethod(scale=20.0)
        plan: Plan = replace(
            toys.plan(toy_task, scans, method, cache=cache, **changes), method=toys.chosen("method", method, name)
        )
        record = run(plan, store)
        assert record.status == "done"
        return reopen(store.folder(record.task, record.row, record.run_id), record, registry, cache=cache)

    return make


def edited(run: Reopened, change: Callable[[list], list]) -> None:
    """Rows as somebody would edit them, the digest in the record left as it was."""
    write_cases(run.folder.cases, change(read_cases(run.folder.cases)))


def sealed(run: Reopened) -> Reopened:
    """The run with a record that says that its files have to be as they are."""
    return replace(run, record=run.record.model_copy(update={"files": run.folder.digests()}))


@pytest.mark.parametrize("save_fields", [False, True])
def test_an_honest_run_holds_to_the_last_bit(opened: Callable[..., Reopened], metrics: Mapping[str, Metric],
                                             save_fields: bool) -> None:  # fmt: skip
    run = opened(save_fields=save_fields)
    for register in (False, True):
        verdict = verify(run, metrics, register=register)
        assert verdict.holds
        assert verdict.rows == verdict.equal == len(read_cases(run.folder.cases)) > 6
        assert verdict.largest == {"dsc": 0.0, "roundtrip": 0.0}
        assert verdict.tolerance == replace(NO_BITS, reason="the machine of the run")
        assert ("kept" in verdict.source) == (save_fields and not register)


def test_an_edited_row_is_found_twice(opened: Callable[..., Reopened], metrics: Mapping[str, Metric]) -> None:
    run = opened()
    edited(run, lambda rows: [rows[0]._replace(value=rows[0].value + 1.5), *rows[1:]])
    verdict = verify(run, metrics)
    assert not verdict.holds
    assert len(verdict.faults) == 1
    assert "cases.csv is not the file that the run wrote" in verdict.faults[0]
    (difference,) = verdict.differing
    assert difference.recorded == pytest.approx(difference.now + 1.5)
    assert difference.key == "0001 <- 0004, dsc of label 1"
    assert verdict.largest["dsc"] == pytest.approx(1.5)
    assert verdict.equal == verdict.rows - 1


def test_a_row_edited_with_its_digest_is_found_by_its_value(
    opened: Callable[..., Reopened], metrics: Mapping[str, Metric]
) -> None:
    run = opened()
    edited(run, lambda rows: [rows[0]._replace(value=rows[0].value + 0.01), *rows[1:]])
    verdict = verify(sealed(run), metrics)
    assert not verdict.faults
    assert len(verdict.differing) == 1
    assert verify(sealed(run), metrics, tolerance=0.02).holds


def test_rows_that_were_left_out_added_or_doubled_are_found(
    opened: Callable[..., Reopened], metrics: Mapping[str, Metric]
) -> None:
    run = opened()
    whole = read_cases(run.folder.cases)
    edited(run, lambda rows: rows[1:])
    verdict = verify(sealed(run), metrics)
    assert [(one.recorded, one.now) for one in verdict.differing] == [(None, whole[0].value)]
    assert verdict.largest["dsc"] == float("inf")
    edited(run, lambda _: [*whole, whole[0]._replace(label=9)])
    assert [one.now for one in verify(sealed(run), metrics).differing] == [None]
    edited(run, lambda _: [*whole, whole[0]])
    assert "2 rows of dsc of label 1 for 0001 <- 0004" in verify(sealed(run), metrics).faults[0]


def test_a_pair_that_was_left_out_as_if_it_had_been_skipped_is_found(
    opened: Callable[..., Reopened], metrics: Mapping[str, Metric]
) -> None:
    run = opened()
    worst = PairId("0001", "0004")
    edited(run, lambda rows: [row for row in rows if (row.fixed, row.moving) != worst])
    left_out = run.record.model_copy(update={"pairs_skipped": ((worst, "too hard"),)})
    verdict = verify(sealed(replace(run, record=left_out)), metrics)
    assert verdict.faults == ("The pair 0001_0004 was not skipped: the method registers it.",)
    assert not verdict.holds


def test_a_row_by_another_method_s_name_is_found(
    opened: Callable[..., Reopened], metrics: Mapping[str, Metric]
) -> None:
    run = opened()
    method = run.record.method.model_copy(update={"title": "Better"})
    renamed = run.record.model_copy(update={"row": "better + refine", "method": method})
    assert verify(replace(run, record=renamed), metrics).faults == (
        "The record calls its row 'better + refine'; it was run with the method 'toy'.",
        "The record calls 'toy' 'Better'; its title is 'Toy'.",
    )


def test_weights_of_another_run_are_found(opened: Callable[..., Reopened], metrics: Mapping[str, Metric]) -> None:
    run, other = opened(), opened(seed=1)
    run.folder.weights.write_bytes(other.folder.weights.read_bytes())
    with pytest.raises(WeightsError, match=r"weights\.safetensors were changed after their run wrote them"):
        verify(run, metrics)


def test_a_changed_or_added_field_is_found(
    opened: Callable[..., Reopened], metrics: Mapping[str, Metric], toys: ModuleType
) -> None:
    run = opened(toys.Shift(voxels=1.0), "shift", save_fields=True)
    pair = PairId("0001", "0004")
    path = run.stored_field(pair)
    assert path is not None
    field = run.field(pair)
    write_field(path, replace(field, displacement=torch.zeros_like(field.displacement)))
    verdict = verify(run, metrics)
    assert "fields/disp_0001_0004.nii.gz is not the file" in verdict.faults[0]
    assert {one.key.split(",")[0] for one in verdict.differing} >= {"0001 <- 0004"}
    assert not verify(run, metrics, register=True).differing
    write_field(run.folder.fields / "disp_0002_0003.nii.gz", field)
    assert any("disp_0002_0003.nii.gz is not of the run" in fault for fault in verify(run, metrics).faults)


def test_what_is_not_there_is_said(opened: Callable[..., Reopened], metrics: Mapping[str, Metric]) -> None:
    run = opened(save_fields=True)
    run.folder.history.unlink()
    verdict = verify(run, {"dsc": metrics["dsc"]})
    assert verdict.holds
    assert verdict.notes == (
        "Not there, and so not checked: history.csv.",
        "There is no metric 'roundtrip' here: its 2 rows are not checked.",
    )
    run.folder.cases.unlink()
    with pytest.raises(StorageError, match=r"cases.csv is missing"):
        verify(run, metrics)


def test_elsewhere_a_little_is_allowed(opened: Callable[..., Reopened], metrics: Mapping[str, Metric]) -> None:
    def elsewhere(run: Reopened) -> Reopened:
        machine = run.record.machine.model_copy(update={"accelerator": "Another GPU", "deterministic": False})
        return replace(run, record=run.record.model_copy(update={"machine": machine}))

    def moved_by(run: Reopened, percent: float) -> Reopened:
        edited(run, lambda rows: [rows[0]._replace(value=rows[0].value + percent), *rows[1:]])
        return elsewhere(sealed(run))

    run = opened()
    near = verify(moved_by(run, 0.4), metrics)
    assert near.holds
    assert near.equal == near.rows - 1
    assert str(near.tolerance).startswith("0.5 %, 0.25 mm, 0.25 voxel")
    assert "Another GPU" in near.notes[0]
    assert not verify(moved_by(run, 2.0), metrics).holds
    kept = opened(save_fields=True)
    assert not verify(moved_by(kept, 0.4), metrics).holds, "the same fields score the same on any machine"


def test_tolerances() -> None:
    wide = Tolerance("w", relative=0.01, absolute={"mm": 0.25}, otherwise=0.5)
    assert wide.allows(100.0, 101.2, "mm")
    assert not wide.allows(100.0, 101.3, "mm")
    assert wide.allows(100.0, 98.6, "%")
    assert not wide.allows(100.0, 98.4, "%")
    for strange in (float("nan"), float("inf")):
        assert wide.allows(strange, strange, "mm")
        assert not wide.allows(strange, 1.0, "mm")
        assert not wide.allows(1.0, strange, "mm")
    assert not wide.allows(float("inf"), float("-inf"), "mm")
    assert not NO_BITS.allows(1.0, 1.0 + 2**-52, "mm")


def test_fields_are_scored_as_an_evaluation_scores_them(
    toy_cohort: Cohort, toys: ModuleType, metrics: Mapping[str, Metric]
) -> None:
    shift = toys.Shift(voxels=1.0)
    whole = evaluate(shift, shift.register, toy_cohort, metrics, Silent())
    pairs = toy_cohort.protocol.test_pairs
    again = score_fields(lambda pair: shift.register(toy_cohort.pair(pair)), toy_cohort, pairs, metrics, Silent())
    assert again == whole.rows
    assert score_fields(lambda _: pytest.fail("nothing to score"), toy_cohort, [], metrics, Silent()) == ()
