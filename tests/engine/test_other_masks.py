"""Which masks a run saw, and what is made of others under the same name: made again elsewhere, they may be such."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regbench.api import Metric, Silent, Task, Volume
from regbench.data import Cohort
from regbench.data.cohorts.fingerprints import masks_fingerprint
from regbench.engine import Plan, reopen, run, verify
from regbench.engine.proof.reopening import phantoms_of
from regbench.registry import Plugin, Registry
from regbench.results import RunRecord, Store

OTHERS = "The masks of 'halves' that were made again are others than those that the run saw."


class Told(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def others(toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The kept masks are gone, and what makes them anew makes others, as another machine would."""

    def forget() -> None:
        shutil.rmtree(tmp_path / "cache" / "masks")
        usual = toys.Halves.masks
        monkeypatch.setattr(
            toys.Halves,
            "masks",
            lambda source, request: {
                scan: Volume(mask.data.flip(0), mask.grid) for scan, mask in usual(source, request).items()
            },
        )

    return forget


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for kind, name, target in (
        ("task", "toy", "regbench_tests_toy:ToyTask"),
        ("method", "toy", "regbench_engine_toys:MaskedToy"),
        ("masks", "halves", "regbench_engine_toys:Halves"),
    ):
        registry._add(Plugin(kind, name, "toys", "1.0", target))
    return registry


@pytest.fixture
def masked_plan(make_plan: Callable[..., Plan], toy_task: Task, toys: ModuleType, tmp_path: Path) -> Plan:
    """A run on phantoms, whose method looks at masks at test."""
    protocol = toy_task.protocols()["phantom"]
    folder = phantoms_of("toy", toy_task, protocol.at(protocol.quick_shape), tmp_path / "cache")
    return replace(make_plan(toys.MaskedToy(scale=20.0), masks=toys.Halves()), folder=folder)


def test_the_digest_is_of_scans_and_their_masks(toy_cohort: Cohort) -> None:
    assert masks_fingerprint(toy_cohort) is None
    assert toy_cohort.labels is not None
    maps = {scan: toy_cohort.label_map(scan) for scan in toy_cohort.ids}
    before = masks_fingerprint(toy_cohort.with_masks(maps))
    backwards = replace(toy_cohort, ids=toy_cohort.ids[::-1], images=toy_cohort.images.flip(0))
    assert masks_fingerprint(backwards.with_masks(maps)) == before
    first, second, *_ = toy_cohort.ids
    swapped = maps | {first: maps[second], second: maps[first]}
    assert masks_fingerprint(toy_cohort.with_masks(swapped)) != before
    voxel = maps[first].data.clone()
    voxel[0, 0, 0] = 3
    assert masks_fingerprint(toy_cohort.with_masks(maps | {first: Volume(voxel, maps[first].grid)})) != before


def test_a_record_says_which_masks_the_run_saw(
    make_plan: Callable[..., Plan], toys: ModuleType, store: Store, others: Callable[[], None]
) -> None:
    plan = make_plan(masks=toys.Halves())
    records = [run(plan, store), run(replace(plan, method=toys.chosen("method", toys.MaskedToy())), store)]
    others()
    records.append(run(replace(plan, seed=1), store))
    digests = [record.masks.digest for record in records if record.masks]
    assert digests[0] is not None
    assert digests[0] == digests[1] != digests[2]


def test_verify_says_that_other_masks_were_made(
    masked_plan: Plan, registry: Registry, store: Store, others: Callable[[], None], tmp_path: Path
) -> None:
    record = run(masked_plan, store)
    folder = store.folder(record.task, record.row, record.run_id)
    metrics: Mapping[str, Metric] = masked_plan.metrics

    def notes(record: RunRecord) -> tuple[str, ...]:
        return verify(reopen(folder, record, registry, cache=tmp_path / "cache"), metrics).notes

    assert notes(record) == ()
    others()
    assert notes(record) == (OTHERS,)
    assert record.masks is not None
    older = record.model_copy(update={"masks": record.masks.model_copy(update={"digest": None})})
    assert notes(older) == (), "nobody knows what an older run saw"


def test_a_training_goes_on_with_the_masks_that_it_began_with_or_not_at_all(
    masked_plan: Plan,
    toys: ModuleType,
    store: Store,
    others: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    plan = replace(masked_plan, method=toys.chosen("method", toys.ToyMethod(at=5, what="sigint")))
    with pytest.raises(KeyboardInterrupt):
        run(plan, store)
    monkeypatch.setattr(toys.ToyMethod, "_trouble", lambda self, term: {})
    others()
    told = Told()
    resumed, whole = run(plan, store, told), run(plan, Store(tmp_path / "whole"))
    assert told.notes == [f"{OTHERS} It is trained anew."]
    assert resumed.files["weights.safetensors"] == whole.files["weights.safetensors"]
    assert resumed.masks == whole.masks


def test_a_finished_run_is_not_scored_again_with_other_masks(
    masked_plan: Plan, toys: ModuleType, store: Store, others: Callable[[], None]
) -> None:
    record = run(replace(masked_plan, metrics={"dsc": toys.Overlap()}), store)
    others()
    told = Told()
    assert run(masked_plan, store, told) == record
    assert told.notes == [f"{record.row} could not be scored again: {OTHERS}"]


def test_to_score_a_run_again_takes_no_masks_where_they_were_for_training_only(
    make_plan: Callable[..., Plan], toys: ModuleType, store: Store, others: Callable[[], None], tmp_path: Path
) -> None:
    plan = make_plan(masks=toys.Halves(), metrics={"dsc": toys.Overlap()})
    record = run(plan, store)
    others()
    more = run(replace(plan, metrics={"dsc": toys.Overlap(), "roundtrip": toys.Roundtrip()}), store)
    assert more.metrics.keys() == {"dsc", "roundtrip"}
    assert more.masks == record.masks
    assert not (tmp_path / "cache" / "masks").exists()


def test_a_network_that_saw_other_masks_is_not_taken_over(
    masked_plan: Plan, store: Store, others: Callable[[], None], tmp_path: Path
) -> None:
    refined = replace(masked_plan, refine=1)
    run(masked_plan, store)
    others()
    alone = run(refined, Store(tmp_path / "alone"))
    assert run(refined, store).files["weights.safetensors"] == alone.files["weights.safetensors"]


def test_masks_that_are_bit_for_bit_the_same_are_no_others(
    masked_plan: Plan, registry: Registry, store: Store, tmp_path: Path
) -> None:
    record = run(masked_plan, store)
    shutil.rmtree(tmp_path / "cache" / "masks")
    folder = store.folder(record.task, record.row, record.run_id)
    opened = reopen(folder, record, registry, cache=tmp_path / "cache")
    assert opened.notes == ()
    assert opened.cohort.masks is not None
    assert torch.equal(opened.cohort.masks.unique(), torch.tensor([0, 1], dtype=torch.uint8))
