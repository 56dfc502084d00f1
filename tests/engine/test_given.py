"""Fields made elsewhere as runs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regbench.api import Field, Task
from regbench.data import Cohort, load_cohort
from regbench.data.learn2reg import write_submission_field
from regbench.engine import Plan, run
from regbench.engine.proof.given import evaluate_fields, given
from regbench.errors import DataError, RunError
from regbench.results import RunRecord, Store, read_cases

Make = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: Make, toys: ModuleType, toy_task: Task) -> Plan:
    """On the grid of the toy task's files."""
    protocol = toy_task.protocols()["phantom"]
    return replace(make_plan(toys.Shift(), data="real", protocol=protocol), method=given("Mine"))


@pytest.fixture
def fields(plan: Plan, tmp_path: Path) -> Path:
    """What a shift by 1.5 voxels gives."""
    cohort: Cohort = load_cohort(plan.task, plan.folder, plan.protocol, cache=plan.cache)
    for pair in plan.protocol.test_pairs:
        grid = cohort.image(pair.fixed).grid
        write_submission_field(tmp_path / "fields", pair, Field(torch.full((3, *grid.shape), 1.5), grid), cohort)
    return tmp_path / "fields"


def rows(store: Store, record: RunRecord) -> list:
    return read_cases(store.folder(record.task, record.row, record.run_id).cases)


def test_they_score_what_their_method_scores(plan: Plan, fields: Path, store: Store, toys: ModuleType) -> None:
    record = evaluate_fields(plan, fields, store)
    method = run(replace(plan, method=toys.chosen("method", toys.Shift(voxels=1.5))), store)
    assert rows(store, record) == rows(store, method) != []
    assert (record.status, record.row, record.data) == ("done", "Mine", method.data)
    assert (record.method.title, record.method.distribution) == ("Mine", "fields")
    assert record.method.version
    assert record.cost.seconds_per_pair is None
    assert record.files == store.folder("toy", "Mine", record.run_id).digests()


def test_the_same_fields_are_scored_once(plan: Plan, fields: Path, store: Store, toys: ModuleType) -> None:
    first = evaluate_fields(plan, fields, store)
    assert evaluate_fields(plan, fields, store) == first
    assert evaluate_fields(plan, fields, store, force=True).run_id == first.run_id
    fewer = replace(plan, metrics={"dsc": toys.Overlap()})
    assert evaluate_fields(fewer, fields, store).metrics.keys() == plan.metrics.keys(), "it has what is asked for"
    kept = evaluate_fields(replace(plan, save_fields=True), fields, store)
    assert kept.run_id == first.run_id
    assert "fields/disp_0001_0004.nii.gz" in kept.files
    half = store.folder("toy", "Mine", first.run_id)
    half.save(first)
    (half.fields / "disp_0001_0004.nii.gz").unlink()
    whole = evaluate_fields(replace(plan, save_fields=True), fields, store)
    assert whole.files == half.digests() == kept.files, "what a killed process left of them is made whole"
    renamed = evaluate_fields(replace(plan, method=given("Other")), fields, store)
    assert renamed.run_id != first.run_id


def test_a_failure_is_recorded(plan: Plan, fields: Path, store: Store, toys: ModuleType) -> None:
    with pytest.raises(RunError, match="broken metric"):
        evaluate_fields(replace(plan, metrics={"dsc": toys.Overlap(broken=True)}), fields, store)
    ((_, record),) = store.list()
    assert record.status == "failed"
    assert "broken metric" in (record.reason or "")
    assert evaluate_fields(plan, fields, store).status == "done"


def test_nothing_is_recorded_where_a_field_is_missing(plan: Plan, fields: Path, store: Store) -> None:
    (fields / "disp_0004_0001.nii.gz").unlink()
    with pytest.raises(DataError, match="lacks the fields of 1 of 2 pairs"):
        evaluate_fields(plan, fields, store)
    assert len(store.list()) == 0
