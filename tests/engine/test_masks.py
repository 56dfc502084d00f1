import errno
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from regbench.api import MaskSource, Silent
from regbench.data import Cohort
from regbench.engine import Plan, add_masks, run
from regbench.engine.masks import mask_request, masks_key
from regbench.errors import RunError, StorageError
from regbench.results import Store, locked

Add = Callable[..., Cohort]


@pytest.fixture
def notes() -> list[str]:
    """What `add` has told."""
    return []


@pytest.fixture
def add(toys: ModuleType, tmp_path: Path, notes: list[str]) -> Add:
    class Told(Silent):
        def note(self, sentence: str) -> None:
            notes.append(sentence)

    def adds(cohort: Cohort, source: MaskSource) -> Cohort:
        chosen = toys.chosen("masks", source, "halves")
        return add_masks(cohort, chosen, Told(), modality="ct", cache=tmp_path)

    return adds


def times_asked(cache: Path) -> int:
    return sum(len(log.read_text()) for log in cache.rglob("asked"))


def test_nothing_leaks_to_a_source_that_does_not_declare_it(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path
) -> None:
    request = mask_request(toy_cohort, toys.Halves(), "ct", tmp_path / "work")
    assert request.truth is None
    assert request.training_labels.keys() == set(toy_cohort.protocol.train)
    assert request.scans.keys() == set(toy_cohort.ids)
    assert request.labels == toy_cohort.protocol.labels
    assert (request.modality, request.device) == ("ct", torch.device("cpu"))
    assert request.workspace.is_dir()
    assert toy_cohort.labels is not None
    everything = toy_cohort.labels.untyped_storage().data_ptr()
    for scan, volume in request.training_labels.items():
        assert torch.equal(volume.data, toy_cohort.label_map(scan).data)
        assert volume.data.untyped_storage().data_ptr() != everything, "a view leads to the test side's labels"


def test_the_truth_is_shown_to_those_that_declare_it(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path) -> None:
    request = mask_request(toy_cohort, toys.Copies(), "ct", tmp_path)
    assert request.truth is not None
    assert request.truth.keys() == set(toy_cohort.ids)


def test_without_labels_there_is_none_to_show(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path) -> None:
    request = mask_request(replace(toy_cohort, labels=None), toys.Copies(), "ct", tmp_path)
    assert (request.truth, request.training_labels) == (None, {})


def test_masks_are_made_once(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add, notes: list[str]) -> None:
    first, second = add(toy_cohort, toys.Halves()), add(toy_cohort, toys.Halves())
    assert times_asked(tmp_path) == 1
    assert notes == []
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)
    assert first.masks[:, :, :12].eq(1).all()
    assert first.masks[:, :, 12:].eq(0).all()
    assert first.mask_labels == (1, 2, 3)


def test_a_second_process_waits_and_says_so(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path) -> None:
    source = toys.chosen("masks", toys.Halves())
    folder = tmp_path / "masks" / masks_key(toy_cohort, source)
    first = ExitStack()
    first.enter_context(locked(folder))
    notes = []

    class Told(Silent):
        def note(self, sentence: str) -> None:
            notes.append(sentence)
            first.close()

    add_masks(toy_cohort, source, Told(), modality="ct", cache=tmp_path)
    assert len(notes) == 1
    assert "waiting" in notes[0]
    assert times_asked(tmp_path) == 1


def test_a_cache_that_is_only_read_gives_the_masks_that_it_has(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(toy_cohort, toys.Halves())

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("regbench.results.lock.os.open", refuse)
    second = add(toy_cohort, toys.Halves())
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)
    with pytest.raises(StorageError, match="the file system is read-only"):
        add(toy_cohort, toys.Halves(label=2))


def test_what_masks_depend_on_makes_others(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path) -> None:
    protocol = toy_cohort.protocol
    chosen = toys.chosen("masks", toys.Halves())
    keys = [
        masks_key(toy_cohort, chosen),
        masks_key(replace(toy_cohort, fingerprint="other scans"), chosen),
        masks_key(replace(toy_cohort, protocol=protocol.at((12, 10, 14))), chosen),
        masks_key(replace(toy_cohort, protocol=protocol.model_copy(update={"train": ("0002",)})), chosen),
        masks_key(toy_cohort, toys.chosen("masks", toys.Halves(label=2))),
        masks_key(toy_cohort, toys.chosen("masks", toys.Halves(), "other")),
        masks_key(toy_cohort, replace(chosen, plugin=replace(chosen.plugin, version="2"))),
    ]
    assert len(set(keys)) == len(keys)
    pairs_only = protocol.model_copy(update={"test_pairs": (), "name": "other", "revision": 9})
    assert masks_key(replace(toy_cohort, protocol=pairs_only), chosen) == keys[0]


def test_files_that_change_make_masks_anew(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add) -> None:
    file = tmp_path / "masks.txt"
    file.write_text("one")
    add(toy_cohort, toys.Halves(file=file))
    file.write_text("two")
    add(toy_cohort, toys.Halves(file=file))
    assert times_asked(tmp_path) == 2


def test_a_byte_that_changed_in_kept_masks_is_seen(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add
) -> None:
    first = add(toy_cohort, toys.Halves())
    (path,) = tmp_path.rglob("masks.safetensors")
    kept = bytearray(path.read_bytes())
    kept[-1] ^= 2  # another label that was asked for
    path.write_bytes(kept)
    second = add(toy_cohort, toys.Halves())
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)
    assert times_asked(tmp_path) == 2
    assert path.read_bytes() != kept
    path.with_name("masks.sha256").unlink()  # as an older version left it
    add(toy_cohort, toys.Halves())
    assert times_asked(tmp_path) == 2


@pytest.mark.parametrize("damage", [b"", b"nothing at all", None])
def test_a_damaged_file_of_masks_is_made_anew(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add, notes: list[str], damage: bytes | None
) -> None:
    first = add(toy_cohort, toys.Halves())
    (path,) = tmp_path.rglob("masks.safetensors")
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    second = add(toy_cohort, toys.Halves())
    assert times_asked(tmp_path) == 2
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)
    (said,) = notes
    assert said == f"The masks kept in {path.parent} are not what was written there; making them again."


@pytest.mark.parametrize(("wrong", "said"), [("missing", "no label map for scan 0004"), ("label", r"labels \[77\]")])
def test_masks_that_cannot_be_used_are_named_and_not_kept(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path, add: Add, wrong: str, said: str
) -> None:
    with pytest.raises(RunError, match=f"'halves' cannot be used: .*{said}"):
        add(toy_cohort, toys.Halves(wrong=wrong))
    assert not list(tmp_path.rglob("masks.safetensors"))


def test_a_source_that_fails_fails_the_run(make_plan: Callable[..., Plan], toys: ModuleType, store: Store) -> None:
    record = run(make_plan(masks=toys.Halves(wrong="raise")), store)
    assert record.status == "failed"
    assert (record.reason or "").startswith("In the phase 'masks': ValueError: no masks today (see traceback.txt")


def test_rows_of_one_cohort_share_their_masks_whatever_the_seed(
    make_plan: Callable[..., Plan], toys: ModuleType, store: Store
) -> None:
    plan = make_plan(masks=toys.Halves())
    for method, seed in ((toys.ToyMethod(), 0), (toys.ToyMethod(), 1), (toys.MaskedToy(), 0)):
        record = run(replace(plan, method=toys.chosen("method", method), seed=seed), store)
        assert record.status == "done"
    assert plan.cache is not None
    assert times_asked(plan.cache) == 1


def test_a_run_records_what_the_masks_that_it_sees_at_test_are_worth(
    make_plan: Callable[..., Plan], store: Store, toys: ModuleType
) -> None:
    record = run(make_plan(toys.MaskedToy(), masks=toys.Halves()), store)
    assert record.masks is not None
    assert record.masks.alone.keys() == set(record.protocol.test)
    for by_label in record.masks.alone.values():
        assert 0 < by_label[1] < 100
        assert {value for label, value in by_label.items() if label != 1} == {0.0}
    in_training = run(make_plan(toys.ToyMethod(), masks=toys.Halves()), store)
    assert in_training.masks is not None
    assert not in_training.masks.alone
