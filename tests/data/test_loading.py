"""From a folder to a cohort, by way of the cache."""

import builtins
import itertools
import json
import multiprocessing
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from regbench.api import Grid, Percentiles, Protocol, Scan, Squeeze, Task, Volume
from regbench.data import Cohort, cache_folder, fingerprint, load_cohort, prepare, read_volume, write_volume
from regbench.data.cohorts import loading
from regbench.data.cohorts.preprocess import resample_labels
from regbench.errors import DataError, RunError, StorageError
from regbench_tasks.abdomen import Abdomen
from regbench_tasks.acdc import Acdc


def _reference(task: Task, folder: Path, protocol: Protocol, scan: str) -> tuple[np.ndarray, np.ndarray]:
    """Intensities in [0, 1] and label numbers of a scan on its own grid, by nibabel's way of reading."""
    files = task.scans(folder)[scan]
    image = read_volume(files.image).data.numpy()
    rule = protocol.intensity
    low, high = np.percentile(image, [rule.low, rule.high]) if rule.rule == "percentiles" else (rule.low, rule.high)
    return np.clip((image - low) / (high - low), 0, 1), read_volume(files.labels, "labels").data.numpy()


def test_a_cohort_holds_the_protocol_s_scans_in_its_order(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol
) -> None:
    cohort = load_cohort(toy_task, toy_folder, toy_protocol)
    assert cohort.ids == ("0002", "0003", "0001", "0004")
    assert cohort.images.shape == cohort.labels.shape == (4, 1, 24, 20, 28)
    assert cohort.images.dtype == torch.float32
    for position, scan in enumerate(cohort.ids):
        image, labels = _reference(toy_task, toy_folder, toy_protocol, scan)
        np.testing.assert_allclose(cohort.images[position, 0], image, atol=1 / 65535)
        assert np.array_equal(cohort.labels[position, 0], labels)
        assert cohort.sources[scan] == toy_task.scans(toy_folder)[scan].image
    assert cohort.fingerprint == fingerprint(toy_task.scans(toy_folder).values())


def test_grids_landmarks_and_rules_follow_the_protocol(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol
) -> None:
    rule = toy_protocol.model_copy(
        update={"grid": Squeeze(shape=(12, 15, 14)), "intensity": Percentiles(low=5, high=95), "labels": {2: "south"}}
    )
    cohort = load_cohort(toy_task, toy_folder, rule)
    scan = read_volume(toy_task.scans(toy_folder)["0001"].image)
    assert cohort.images.shape[2:] == (12, 15, 14)
    assert cohort.label_map("0001").grid.matches(rule.grid.target(scan.grid))
    assert cohort.labels.unique().tolist() == [0, 2]
    assert (cohort.images.amin((1, 2, 3, 4)) < 0.02).all()
    assert (cohort.images.amax((1, 2, 3, 4)) > 0.98).all()
    # A blob's centre is its landmark: its label map's centroid is found there in the new grid's voxels.
    landmarks = cohort.landmarks["0001"]
    centroid = (cohort.label_map("0001").data == 2).nonzero().float().mean(0)
    assert (landmarks.index[landmarks.names.index("b")] - centroid).abs().max() < 0.75


def test_the_second_time_no_scan_is_preprocessed(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path)
    monkeypatch.setattr(loading, "_prepare_case", None)
    monkeypatch.setattr(loading, "check", None)
    again = load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path)
    _equal(first, again)


def _equal(a: Cohort, b: Cohort) -> None:
    assert a.ids == b.ids
    assert a.fingerprint == b.fingerprint
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)
    assert all(x.matches(y, 1e-12) for x, y in zip(a.grids, b.grids, strict=True))
    assert a.landmarks.keys() == b.landmarks.keys()
    for scan, points in a.landmarks.items():
        assert points.names == b.landmarks[scan].names
        assert torch.equal(points.index, b.landmarks[scan].index)


def test_nothing_is_opened_once_a_cohort_is_loaded(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path)
    expected = cohort.images.clone()
    shutil.rmtree(tmp_path)
    monkeypatch.setattr(builtins, "open", None)
    for pair in toy_protocol.train_pairs:
        cohort.batch([pair], seed=1)
        cohort.pair(pair)
        cohort.truth(pair)
    assert torch.equal(cohort.images, expected)


def _spoil(path: Path, kind: str) -> None:
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("name", ["cohort.json", "0002-image.npy", "0001-labels.npy"])
def test_a_damaged_cache_is_noticed_and_made_again(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path, name: str, kind: str
) -> None:
    small = toy_protocol.at((12, 10, 14))
    first = load_cohort(toy_task, toy_folder, small, cache=tmp_path)
    _spoil(prepare(toy_task, toy_folder, small, cache=tmp_path) / name, kind)
    _equal(first, load_cohort(toy_task, toy_folder, small, cache=tmp_path))
    assert [path.name[0] for path in (tmp_path / "cohorts").iterdir()] != ["."]


def test_another_spacing_in_the_list_of_a_prepared_cohort_is_noticed(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path
) -> None:
    first = load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path)
    path = prepare(toy_task, toy_folder, toy_protocol, cache=tmp_path) / "cohort.json"
    written = json.loads(path.read_text())
    written["cases"][0]["affine"][0][0] += 1.0
    path.write_text(json.dumps(written))
    _equal(first, load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path))


def test_what_changes_a_voxel_changes_the_key(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = toy_protocol.at((12, 10, 14))
    other = [
        base.at((6, 10, 14)),
        base.model_copy(update={"revision": 2}),
        base.model_copy(update={"intensity": Percentiles()}),
        base.model_copy(update={"labels": {1: "north"}}),
        base.model_copy(update={"train": ("0003", "0002")}),
    ]
    entries = [prepare(toy_task, toy_folder, rule, cache=tmp_path) for rule in (base, *other)]
    assert len(set(entries)) == len(entries)
    renamed = base.model_copy(update={"title": "another title", "notes": ()})
    assert prepare(toy_task, toy_folder, renamed, cache=tmp_path) == entries[0]
    monkeypatch.setattr(loading, "VERSION", loading.VERSION + 1)
    assert prepare(toy_task, toy_folder, base, cache=tmp_path) not in entries


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot be written: the file would be larger .* choose another folder"):
            load_cohort(toy_task, toy_folder, toy_protocol, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cohorts").iterdir()) == []


def _prepare_elsewhere(start: object, task: Task, folder: Path, protocol: Protocol, cache: Path) -> None:
    start.wait()
    load_cohort(task, folder, protocol, cache=cache)


def test_two_processes_prepare_the_same_cohort_at_once(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    arguments = (start, toy_task, toy_folder, toy_protocol, tmp_path)
    processes = [context.Process(target=_prepare_elsewhere, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    (entry,) = (tmp_path / "cohorts").iterdir()
    assert entry == prepare(toy_task, toy_folder, toy_protocol, cache=tmp_path)


def test_the_cache_is_where_the_environment_says(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert prepare(toy_task, toy_folder, toy_protocol.at((6, 5, 7))).is_relative_to(tmp_path / "mine")
    monkeypatch.delenv("REGBENCH_CACHE")
    assert cache_folder().name == "regbench"


def test_progress_is_told(toy_task: Task, toy_folder: Path, toy_protocol: Protocol, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    prepare(toy_task, toy_folder, toy_protocol, cache=tmp_path, done=lambda n, of: told.append((n, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_scan_that_the_protocol_names_has_to_be_there(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol
) -> None:
    more = toy_protocol.model_copy(update={"train": (*toy_protocol.train, "0077")})
    with pytest.raises(DataError, match=r"lacks 1 of the scans that the protocol phantom names: 0077"):
        load_cohort(toy_task, toy_folder, more)


def test_scans_without_labels_make_a_cohort_without(toy: ModuleType, toy_protocol: Protocol, tmp_path: Path) -> None:
    class Unlabelled(toy.ToyTask):
        def scans(self, folder: Path) -> dict[str, Scan]:
            return {name: Scan(name, scan.image) for name, scan in super().scans(folder).items()}

    cohort = load_cohort(Unlabelled(), toy.write_abdomen(tmp_path, 4, 3), toy_protocol)
    assert cohort.labels is None
    truth = cohort.truth(toy_protocol.test_pairs[0])
    assert truth.fixed_labels.data.sum() == 0
    assert truth.landmarks is None


def test_the_fingerprint_is_of_contents(toy: ModuleType, toy_task: Task, tmp_path: Path) -> None:
    folder = toy.write_abdomen(tmp_path / "a", 3, 3)
    before = fingerprint(toy_task.scans(folder).values())
    moved = Path(shutil.move(folder, tmp_path / "b"))
    scans = toy_task.scans(moved)
    assert fingerprint(reversed(list(scans.values()))) == before
    image = scans["0001"].image
    plain = image.with_name("0001.nii")
    write_volume(plain, Volume(read_volume(image).data.short(), read_volume(image).grid))
    uncompressed = Scan("0001", plain, scans["0001"].labels, scans["0001"].landmarks)
    assert fingerprint([uncompressed, scans["0002"], scans["0003"]]) == before
    assert fingerprint([scans["0001"], scans["0002"]]) != before
    swapped = Scan("0001", scans["0002"].image, scans["0001"].labels, scans["0001"].landmarks)
    assert fingerprint([swapped, scans["0002"], scans["0003"]]) != before
    for path in (scans["0003"].labels, scans["0003"].landmarks, scans["0003"].image):
        content = read_volume(path).data.short() if path.suffix == ".gz" else None
        if content is None:
            path.write_text(path.read_text().replace("a,", "z,"))
        else:
            content[0, 0, 0] += 1
            write_volume(path, Volume(content, Grid(tuple(content.shape), np.eye(4))))
        after = fingerprint(scans.values())
        assert after != before
        before = after


def _dice(a: np.ndarray, b: np.ndarray, label: int) -> float:
    a, b = a == label, b == label
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() and b.any() else np.nan


@pytest.mark.real
def test_the_real_abdomens_overlap_as_their_description_says(abdomen_ct_folder: Path) -> None:
    """Mean initial Dice of all 190 pairs, by organ and over organs, on the protocol's full grid."""
    rule = Abdomen().protocols()["sample20"].grid
    maps, places = [], []
    for scan in Abdomen().scans(abdomen_ct_folder).values():
        labels = read_volume(scan.labels, "labels")
        maps.append(resample_labels(labels.data.numpy(), labels.grid, rule.target(labels.grid)).ravel())
        places.append(np.flatnonzero(maps[-1]))
        assert maps[-1].size == 192 * 160 * 256
    sizes = [np.bincount(each, minlength=14) for each in maps]
    overlap = []
    for a, b in itertools.combinations(range(20), 2):
        here, there = maps[a][places[a]], maps[b][places[a]]
        shared = np.bincount(here[here == there], minlength=14)
        present = (sizes[a] > 0) & (sizes[b] > 0)
        overlap.append(np.where(present, 2 * shared / np.maximum(sizes[a] + sizes[b], 1), np.nan)[1:])
    by_organ = np.nanmean(overlap, 0)
    published = [0.420, 0.302, 0.321, 0.049, 0.133, 0.652, 0.316, 0.263, 0.241, 0.079, 0.148, 0.067, 0.066]
    np.testing.assert_allclose(by_organ, published, atol=6e-4)
    assert by_organ.mean() == pytest.approx(0.235, abs=6e-4)


@pytest.mark.real
def test_the_real_hearts_overlap_as_their_description_says(acdc_folder: Path) -> None:
    """On the scans' own grids 0.607; the protocol's box cuts a little off, which may move it by a point."""
    protocol = Acdc().protocols()["sample30"]
    scans = Acdc().scans(acdc_folder)
    native, boxed = [], []
    for pair in protocol.train_pairs + protocol.test_pairs:
        a, b = (read_volume(scans[scan].labels, "labels") for scan in pair)
        native.append([_dice(a.data.numpy(), b.data.numpy(), label) for label in (1, 2, 3)])
        c, d = (resample_labels(v.data.numpy(), v.grid, protocol.grid.target(v.grid)) for v in (a, b))
        boxed.append([_dice(c, d, label) for label in (1, 2, 3)])
    np.testing.assert_allclose(np.mean(native, 0), [0.637, 0.531, 0.653], atol=6e-4)
    assert np.mean(native) == pytest.approx(0.607, abs=6e-4)
    assert np.mean(boxed) == pytest.approx(0.607, abs=0.01)


@pytest.mark.real
def test_the_real_abdomens_load_at_the_quick_shape(abdomen_ct_folder: Path, tmp_path: Path) -> None:
    protocol = Abdomen().protocols()["sample20"]
    few = protocol.model_copy(update={"train": ("0002", "0003"), "test": ("0001", "0004")}).at(protocol.quick_shape)
    cohort = load_cohort(Abdomen(), abdomen_ct_folder, few, cache=tmp_path)
    assert cohort.images.shape == (4, 1, 48, 40, 64)
    assert cohort.setting.spacing_mm == pytest.approx((8.0, 8.0, 8.0))
    assert 0.02 < float(cohort.images.mean()) < 0.9
    assert set(cohort.labels.unique().tolist()) == set(range(14))


def test_the_fingerprint_names_every_file_that_it_cannot_read(toy: ModuleType, toy_task: Task, tmp_path: Path) -> None:
    scans = toy_task.scans(toy.write_abdomen(tmp_path, 3, 3))
    scans["0001"].image.unlink()
    scans["0003"].labels.write_bytes(scans["0003"].labels.read_bytes()[:-20])
    with pytest.raises(DataError) as caught:
        fingerprint(scans.values())
    first, second = caught.value.faults
    assert f"{scans['0001'].image} is missing" in first
    assert f"{scans['0003'].labels} is truncated" in second


@pytest.mark.parametrize(
    ("device", "raised", "said"),
    [
        (
            "cuda:1",
            torch.OutOfMemoryError("CUDA out of memory. Tried 2.00 GiB.\nMore of it."),
            "memory. Tried 2.00 GiB",
        ),
        ("cuda:1", RuntimeError("CUDA error: device is busy"), "CUDA error: device is busy"),
        ("cpu", RuntimeError("DefaultCPUAllocator: no room."), "DefaultCPUAllocator: no room"),
    ],
)
def test_a_device_that_does_not_take_the_scans_is_named(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, monkeypatch: pytest.MonkeyPatch,
    device: str, raised: Exception, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(Cohort, "to", raising(raised))
    with pytest.raises(RunError, match=rf"cannot be held on {device}: .*{re.escape(said)}; try a smaller grid"):
        load_cohort(toy_task, toy_folder, toy_protocol, device=device)


def test_what_else_goes_wrong_is_no_full_device(
    toy_task: Task, toy_folder: Path, toy_protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cohort, "to", raising(RuntimeError("can't start new thread")))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        load_cohort(toy_task, toy_folder, toy_protocol)


def raising(error: Exception) -> Callable[..., Any]:
    def to(cohort: Cohort, device: torch.device) -> Cohort:
        raise error

    return to
