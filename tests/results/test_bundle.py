"""Runs in one file, and back: what comes in is what went out, or nothing."""

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regbench.api import PairId
from regbench.errors import BadValueError, StorageError
from regbench.results import (
    CaseRow,
    DataRecord,
    MasksRecord,
    MetricRecord,
    RunFolder,
    RunRecord,
    Store,
    pair_name,
    read_cases,
    write_cases,
)
from regbench.results.bundle import write_bundle
from regbench.results.merging import Merged, merge_bundles

METRICS = {"dsc": MetricRecord(title="DSC", unit="%", higher_is_better=True, digits=1)}


@pytest.fixture
def put(make_record: Callable[..., RunRecord]) -> Callable[..., tuple[RunFolder, RunRecord]]:
    """A finished run with its files in a store."""

    def make(root: Path, run_id: str = "aaa111", value: float = 50.0, **changes: Any) -> tuple[RunFolder, RunRecord]:
        record = make_record(run_id, **{"metrics": METRICS, **changes})
        folder = Store(root).folder(record.task, record.row, record.run_id)
        rows = [CaseRow(pair_name(pair), *pair, "dsc", label, value + label) for pair in record.protocol.test_pairs
                for label in record.protocol.labels]  # fmt: skip
        write_cases(folder.cases, rows)
        folder.history.write_text("step,seconds\n1,0.5\n")
        folder.weights.write_bytes(b"weights")
        (folder.path / "traceback.txt").write_text("/home/somebody/secret.py")
        folder.fields.mkdir()
        (folder.fields / "disp_0001_0004.nii.gz").write_bytes(b"field")
        record = record.model_copy(update={"files": folder.digests()})
        folder.save(record)
        return folder, record

    return make


@pytest.fixture
def bundled(put: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A bundle of one run."""

    def make(name: str = "bundle.zip", **changes: Any) -> Path:
        run = put(tmp_path / f"from {name}", **changes)
        write_bundle(tmp_path / name, [run])
        return tmp_path / name

    return make


def merge(tmp_path: Path, *bundles: Path) -> Merged:
    return merge_bundles(bundles, Store(tmp_path / "runs"))


def nothing_came(tmp_path: Path) -> None:
    left = list((tmp_path / "runs").rglob("*")) if (tmp_path / "runs").exists() else []
    assert not left


def names(bundle: Path) -> list[str]:
    with zipfile.ZipFile(bundle) as archive:
        return archive.namelist()


def rewritten(bundle: Path, change: Callable[[dict[str, bytes]], None], *, sealed: bool = True) -> Path:
    """The bundle as somebody would edit it; sealed: with a list that has the digests of what is in it now."""
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    if sealed:
        listing = json.loads(content["bundle.json"])
        listing["files"] = {
            name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != "bundle.json"
        }
        content["bundle.json"] = json.dumps(listing).encode()
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return bundle


def test_runs_go_out_and_come_in(put: Callable[..., Any], tmp_path: Path) -> None:
    runs = [put(tmp_path / "mine", "aaa111"), put(tmp_path / "mine", "bbb222", 60.0, row="other [x=1]")]
    assert write_bundle(tmp_path / "b.zip", [*runs, runs[0]]) == 2
    merged = merge(tmp_path, tmp_path / "b.zip")
    assert [record.run_id for record in merged.added] == ["aaa111", "bbb222"]
    assert merged.present == ()
    store = Store(tmp_path / "runs")
    listing = store.list()
    assert not listing.faults
    assert sorted(record.run_id for _, record in listing) == ["aaa111", "bbb222"]
    for folder, record in runs:
        here = store.folder(record.task, record.row, record.run_id)
        assert here.load() == record
        assert read_cases(here.cases) == read_cases(folder.cases)
        assert here.history.read_bytes() == folder.history.read_bytes()
        assert sorted(path.name for path in here.path.iterdir()) == ["cases.csv", "history.csv", "run.json"]
    assert sorted(path.name for path in store.root.iterdir()) == ["toy"], "nothing else is left"


def test_what_a_killed_merge_left_is_swept(bundled: Callable[..., Path], tmp_path: Path) -> None:
    left = tmp_path / "runs/.0123456789ab.tmp.merge"
    (left / "0").mkdir(parents=True)
    os.utime(left, (0, 0))
    merge(tmp_path, bundled())
    assert not left.exists()


def test_what_is_packed(put: Callable[..., Any], tmp_path: Path) -> None:
    run = put(tmp_path / "mine")
    write_bundle(tmp_path / "a.zip", [run])
    plain = ["bundle.json", "toy/aaa111/cases.csv", "toy/aaa111/history.csv", "toy/aaa111/run.json"]
    assert names(tmp_path / "a.zip") == plain
    write_bundle(tmp_path / "b.zip", [run], weights=True, fields=True)
    extra = ["toy/aaa111/fields/disp_0001_0004.nii.gz", "toy/aaa111/weights.safetensors"]
    assert sorted(names(tmp_path / "b.zip")) == sorted(plain + extra)
    merge(tmp_path, tmp_path / "b.zip")
    assert (tmp_path / "runs/toy/toy/aaa111/weights.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "runs/toy/toy/aaa111/fields/disp_0001_0004.nii.gz").read_bytes() == b"field"


def test_the_same_runs_give_the_same_bytes(put: Callable[..., Any], tmp_path: Path) -> None:
    runs = [put(tmp_path / "mine", "aaa111"), put(tmp_path / "mine", "bbb222", row="b")]
    write_bundle(tmp_path / "a.zip", runs)
    write_bundle(tmp_path / "b.zip", runs[::-1])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_is_not_sound_is_not_packed(put: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    folder, record = put(tmp_path / "mine")
    with pytest.raises(BadValueError, match="is failed, not done"):
        write_bundle(out, [(folder, record.model_copy(update={"status": "failed"}))])
    with pytest.raises(BadValueError, match=r"names no cases.csv"):
        write_bundle(out, [(folder, record.model_copy(update={"files": {}}))])
    with pytest.raises(BadValueError, match="Two of the runs have the id aaa111"):
        write_bundle(out, [(folder, record), put(tmp_path / "copy")])
    write_cases(folder.cases, [])
    with pytest.raises(BadValueError, match="is not the file that the run wrote"):
        write_bundle(out, [(folder, record)])
    folder.cases.unlink()
    with pytest.raises(BadValueError, match="is missing"):
        write_bundle(out, [(folder, record)])
    assert not out.exists()


def test_what_is_there_already_is_left_alone(bundled: Callable[..., Path], tmp_path: Path) -> None:
    bundle = bundled()
    merge(tmp_path, bundle)
    before = (tmp_path / "runs/toy/toy/aaa111/run.json").stat().st_mtime_ns
    again = merge(tmp_path, bundle, bundle)
    assert again.added == ()
    assert [record.run_id for record in again.present] == ["aaa111", "aaa111"]
    assert (tmp_path / "runs/toy/toy/aaa111/run.json").stat().st_mtime_ns == before


def test_a_result_whose_older_record_does_not_say_which_masks_it_saw_is_one_result(
    bundled: Callable[..., Path], tmp_path: Path
) -> None:
    older = MasksRecord(name="m", title="M", distribution="d", version="1", configuration={}, saw_test_images=False,
                        saw_test_labels=False, used="training")  # fmt: skip
    merge(tmp_path, bundled("a.zip", masks=older))
    newer = older.model_copy(update={"digest": "0" * 64})
    assert len(merge(tmp_path, bundled("b.zip", masks=newer)).present) == 1


def test_one_result_of_two_machines_is_one_result(
    bundled: Callable[..., Path], make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    """Everybody has the row of the unregistered state, made at home."""
    machine = make_record().machine.model_copy(update={"processor": "another"})
    merge(tmp_path, bundled("a.zip"))
    merged = merge(tmp_path, bundled("b.zip", machine=machine, started="2027-01-01T00:00:00+00:00"))
    assert (len(merged.added), len(merged.present)) == (0, 1)
    told = make_record().method.model_copy(update={"source": "0" * 64})  # older records do not have it
    assert len(merge(tmp_path, bundled("c.zip", method=told)).present) == 1
    with pytest.raises(BadValueError, match="with other content"):
        merge(tmp_path, bundled("d.zip", machine=machine, seed=1))


def test_a_run_that_never_began_is_in_nobody_s_way(bundled: Callable[..., Path], tmp_path: Path) -> None:
    bundle = bundled()
    merge(tmp_path, bundle)
    ((folder, _),) = Store(tmp_path / "runs").list()
    folder.clear()
    with folder.lock(), pytest.raises(StorageError, match=r"aaa111 is in the way: .*wait for its process"):
        merge(tmp_path, bundle)
    (folder.path / "run.json").write_text("half")
    with pytest.raises(StorageError, match=r"aaa111 is in the way: .*remove it"):
        merge(tmp_path, bundle)
    assert (folder.path / "run.json").read_text() == "half"
    folder.clear()
    assert len(merge(tmp_path, bundle).added) == 1


def test_one_id_with_two_contents_is_refused(bundled: Callable[..., Path], tmp_path: Path) -> None:
    first, second = bundled("a.zip"), bundled("b.zip", value=60.0)
    with pytest.raises(BadValueError, match=r"aaa111 .* is there already, with other content"):
        merge(tmp_path, first, second)
    nothing_came(tmp_path)
    merge(tmp_path, first)
    with pytest.raises(BadValueError, match="is there already, with other content"):
        merge(tmp_path, second)
    assert len(Store(tmp_path / "runs").list()) == 1


def test_edited_rows_are_refused(bundled: Callable[..., Path], tmp_path: Path) -> None:
    def better(content: dict[str, bytes]) -> None:
        content["toy/aaa111/cases.csv"] = content["toy/aaa111/cases.csv"].replace(b"51.0", b"91.0")

    with pytest.raises(BadValueError, match=r"was changed after it was written: the sha256 of toy/aaa111/cases.csv"):
        merge(tmp_path, rewritten(bundled(), better, sealed=False))
    with pytest.raises(BadValueError, match=r"was edited: the sha256 of its cases.csv"):
        merge(tmp_path, rewritten(bundled("c.zip"), better))
    nothing_came(tmp_path)


def with_record(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(content: dict[str, bytes]) -> None:
        record = json.loads(content["toy/aaa111/run.json"])
        del record["seal"]
        change(record)
        content["toy/aaa111/run.json"] = json.dumps(record).encode()

    return edit


def with_list(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def edit(content: dict[str, bytes]) -> None:
        content["bundle.json"] = json.dumps(json.loads(content["bundle.json"]) | changes).encode()

    return edit


def moved(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def edit(content: dict[str, bytes]) -> None:
        content[new] = content.pop(old)

    return edit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_record(lambda r: r.update(schema_version=2)), "newer regbench"),
        (with_record(lambda r: r.update(schema_version=0)), "of another schema than 1"),
        (with_record(lambda r: r.update(status="running")), "is interrupted, not done"),
        (with_record(lambda r: r.update(strange=1)), "that cannot be read: run.json is no run record: strange"),
        (with_record(lambda r: r.update(task="../../etc")), "lies in the bundle as toy/aaa111"),
        (with_record(lambda r: r.update(run_id="../../../etc")), "lies in the bundle as"),
        (with_record(lambda r: r.update(row="..")), "no name for its row"),
        (with_record(lambda r: r["files"].pop("cases.csv")), "no digest of its cases.csv"),
        (with_record(lambda r: r["protocol"].update(test_pairs=[["0001", "0004"]])), "a row that its protocol"),
        (with_record(lambda r: r.update(metrics={})), "a row that its protocol or its metrics do not know"),
        (lambda c: c.pop("toy/aaa111/cases.csv"), "has no cases.csv"),
        (with_list(layout=2), "layout 2"),
        (with_list(schema_version=7), "records of schema 7"),
        (with_list(format="zip"), "has a bundle.json that cannot be read"),
        (lambda c: c.pop("bundle.json") and c.update({"bundle.json": b"[]"}), "has a bundle.json that cannot be read"),
    ],
)
def test_what_does_not_fit_this_version_is_refused(
    bundled: Callable[..., Path], tmp_path: Path, change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    bundle = rewritten(bundled(), change, sealed=not said.startswith("has a bundle.json"))
    with pytest.raises(BadValueError, match=said):
        merge(tmp_path, bundle)
    nothing_came(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/tmp/evil.txt",  # noqa: S108 - a name in a bundle
        "toy/aaa111/../../../../evil.csv",
        "..\\..\\evil.txt",
        "toy/aaa111/.lock",
        "toy/aaa111/evil.py",
        "toy/aaa111/fields/../../x/disp_a_b.nii.gz",
        "toy/../cases.csv",
        "C:/cases.csv",
        "toy/aaa111/sub/weights.safetensors",
        "cases.csv",
    ],
)
def test_no_name_leads_out_of_the_store(bundled: Callable[..., Path], tmp_path: Path, name: str) -> None:
    bundle = rewritten(bundled(), lambda content: content.update({name: b"evil"}))
    with pytest.raises(BadValueError, match="which is no file of a run"):
        merge(tmp_path, bundle)
    nothing_came(tmp_path)
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_strangers_are_refused(bundled: Callable[..., Path], tmp_path: Path) -> None:
    bundle = bundled()
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("toy/aaa111/best.safetensors", b"not listed")
    with pytest.raises(BadValueError, match="holds other files than its"):
        merge(tmp_path, bundle)
    link = zipfile.ZipInfo("toy/aaa111/weights.safetensors")
    link.external_attr = 0o120777 << 16
    bundle = rewritten(bundled("b.zip"), lambda content: content.update({link.filename: b"/etc/passwd"}))
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in content.items():
            archive.writestr(link if name == link.filename else name, data)
    with pytest.raises(BadValueError, match="which is no file of a run"):
        merge(tmp_path, bundle)
    nothing_came(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_half_a_bundle_is_refused(bundled: Callable[..., Path], tmp_path: Path, share: float) -> None:
    bundle = bundled()
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadValueError, match="is no whole bundle"):
        merge(tmp_path, bundle)
    nothing_came(tmp_path)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadValueError) as caught:
        merge(tmp_path, tmp_path / "a.zip", tmp_path / "b.zip", tmp_path / "c.zip", tmp_path)
    said = str(caught.value).splitlines()
    assert len(said) == 5
    for line, words in zip(said, ("no whole", "no bundle", "is missing", "is missing", "Nothing was"), strict=True):
        assert words in line


def test_another_protocol_or_other_data_under_the_same_name_is_refused(
    put: Callable[..., Any], bundled: Callable[..., Path], tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    put(tmp_path / "runs", "ccc333", row="here before")
    protocol = make_record().protocol
    real = DataRecord(kind="real", fingerprint="g", pairs="p")
    swapped = (PairId("0004", "0001"), PairId("0001", "0004"))

    def refused(said: str, **changes: Any) -> None:
        with pytest.raises(BadValueError, match=said):
            merge(tmp_path, bundled(f"{len(list(tmp_path.iterdir()))}.zip", **changes))
        assert len(Store(tmp_path / "runs").list()) == 1

    refused(r"revision 2; the run ccc333 \(here before\) is of revision 1",
            protocol=protocol.model_copy(update={"revision": 2}))  # fmt: skip
    refused("has other pairs in its protocol phantom than the run ccc333",
            protocol=protocol.model_copy(update={"test_pairs": swapped}))  # fmt: skip
    refused("has other pairs", data=DataRecord(kind="phantom", fingerprint="f", pairs="q"))
    refused(r"was made on other data \(fingerprint g…\) than the run ccc333",
            data=DataRecord(kind="phantom", fingerprint="g", pairs="p"))  # fmt: skip

    merge(tmp_path, bundled("grid.zip", run_id="ddd", protocol=protocol.at((12, 10, 14)),
                            data=DataRecord(kind="phantom", fingerprint="h", pairs="p")))  # fmt: skip
    merge(tmp_path, bundled("real.zip", run_id="eee", data=real))
    merge(
        tmp_path, bundled("name.zip", run_id="fff", protocol=protocol.model_copy(update={"name": "n", "revision": 3}))
    )
    assert len(Store(tmp_path / "runs").list()) == 4
    with pytest.raises(BadValueError, match="was made on other data"):
        merge(tmp_path, bundled("small.zip", run_id="hhh", protocol=protocol.at((12, 10, 14)),
                                data=real.model_copy(update={"fingerprint": "z"})))  # fmt: skip


def test_all_come_in_or_none(bundled: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [bundled("a.zip", run_id="aaa111"), bundled("b.zip", run_id="bbb222")]
    bad = bundled("c.zip", run_id="ccc333", data=DataRecord(kind="phantom", fingerprint="x", pairs="p"))
    with pytest.raises(BadValueError, match="Nothing was taken in"):
        merge(tmp_path, *good, bad)
    nothing_came(tmp_path)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if target.name == "bbb222":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(StorageError, match="there is no space left"):
            merge(tmp_path, *good)
    assert len(Store(tmp_path / "runs").list()) == 0
    assert len(merge(tmp_path, *good).added) == 2
