import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regbench.errors import BadValueError, StorageError, UnknownNameError
from regbench.results import RunFolder, RunRecord, Store

Make = Callable[..., RunRecord]


def put(store: Store, record: RunRecord) -> RunFolder:
    folder = store.folder(record.task, record.row, record.run_id)
    folder.save(record)
    return folder


def test_a_record_comes_back_as_it_was(tmp_path: Path, make_record: Make) -> None:
    record = make_record(row="toy[-contour] + files")
    folder = put(Store(tmp_path), record)
    assert folder.path == tmp_path / "toy" / "toy[-contour] + files" / "abc123"
    assert folder.load() == record
    assert json.loads((folder.path / "run.json").read_text())["schema_version"] == 1


def test_there_is_no_record_where_nothing_was_saved(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "nowhere").load() is None
    assert list(Store(tmp_path / "nowhere").list()) == []


def test_running_without_a_living_process_is_interrupted(tmp_path: Path, make_record: Make) -> None:
    folder = put(Store(tmp_path), make_record(status="running"))
    with folder.lock():
        held = folder.load()
    freed = folder.load()
    assert held is not None
    assert freed is not None
    assert (held.status, freed.status) == ("running", "interrupted")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no run record"),
        ("[]", "is no run record"),
        ("\x00\x00", "is no run record"),
        ("[" * 100_000, "is no run record"),
        ('{"schema_version": 1}', "run_id: Field required"),
        ('{"schema_version": 2, "anything": 1}', "newer regbench .*schema 2"),
    ],
)
def test_a_broken_record_is_reported_and_stops_nothing(
    tmp_path: Path, make_record: Make, content: str, said: str
) -> None:
    store = Store(tmp_path)
    good = put(store, make_record("good"))
    broken = tmp_path / "toy" / "toy" / "broken" / "run.json"
    broken.parent.mkdir()
    broken.write_text(content)
    listing = store.list()
    assert [folder for folder, _ in listing] == [good]
    assert len(listing.faults) == 1
    assert str(broken) in listing.faults[0]
    with pytest.raises(StorageError, match=said):
        RunFolder(broken.parent).load()


def test_a_record_that_was_edited_is_no_record_of_its_run(tmp_path: Path, make_record: Make) -> None:
    record = make_record(row="toy ×2")
    folder = put(Store(tmp_path), record)
    file = folder.path / "run.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content))
    assert folder.load() == record, "written in another way, it says the same"
    for change in ({"seed": 1}, {"masks": None, "refine": 3}, {"seal": "0" * 64}):
        file.write_text(json.dumps(content | change))
        with pytest.raises(StorageError, match=r"run\.json was changed after its run wrote it"):
            folder.load()
    del content["seal"]
    file.write_text(json.dumps(content))
    assert folder.load() == record, "older records have no seal"


def test_a_run_counts_once_and_only_in_its_own_folder(tmp_path: Path, make_record: Make) -> None:
    store = Store(tmp_path)
    original, lost = put(store, make_record("abc1")), put(store, make_record("abd2"))
    copy = tmp_path / "toy" / "zcopy" / "abc1"
    shutil.copytree(original.path, copy)
    shutil.copytree(original.path, tmp_path / "toy" / "toy" / "eee3")
    lost.cases.touch()
    (lost.path / "run.json").unlink()
    listing = store.list()
    assert [folder for folder, _ in listing] == [original]
    assert [fault.removeprefix(f"{tmp_path}/toy/").split(";")[0] for fault in listing.faults] == [
        "toy/abd2 lacks its run.json",
        "toy/eee3 holds the record of run abc1",
        f"zcopy/abc1 has the id of {original.path}",
    ]
    with pytest.raises(BadValueError, match="any of the runs abc1, abc1; give more of the id, or a folder"):
        store.find("abc1")
    with pytest.raises(StorageError, match=r"lacks its run\.json"):
        store.find("abd")
    assert store.find(str(copy))[1].run_id == "abc1"


def test_folders_that_cannot_be_looked_into_are_named(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's; for root, who may read everything, the refusal is played."""
    store = Store(tmp_path)
    good = put(store, make_record("good"))
    closed = [put(store, make_record("own")).path, put(store, make_record("abc1", task="theirs")).path.parents[1]]
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    listing = store.list()
    assert [folder for folder, _ in listing] == [good]
    assert sorted(listing.faults) == sorted(
        f"{path} cannot be read: Permission denied; its runs are left out." for path in closed
    )
    assert store.find("good")[0] == good
    with pytest.raises(StorageError, match="theirs cannot be read: Permission denied"):
        store.find("abc1")
    file = tmp_path / "file"
    file.touch()
    assert Store(file).list().faults == (f"{file} cannot be read: Not a directory; its runs are left out.",)


def test_find_by_folder_by_id_and_by_its_beginning(tmp_path: Path, make_record: Make) -> None:
    store = Store(tmp_path)
    folders = {name: put(store, make_record(name)) for name in ("abc1", "abd2")}
    assert store.find("abc1")[0] == folders["abc1"]
    assert store.find("abd")[1].run_id == "abd2"
    assert store.find(str(folders["abd2"].path))[1].run_id == "abd2"
    with pytest.raises(BadValueError, match="abc1, abd2"):
        store.find("ab")
    with pytest.raises(UnknownNameError, match="did you mean 'abd2'"):
        store.find("xbd2")
    with pytest.raises(UnknownNameError):
        store.find("")


def test_digests_name_every_lasting_file(tmp_path: Path, make_record: Make) -> None:
    folder = put(Store(tmp_path), make_record())
    folder.cases.write_text("cases")
    folder.fields.mkdir()
    (folder.fields / "a.nii.gz").write_bytes(b"a")
    folder.state.write_bytes(b"goes away")
    with folder.lock():
        digests = folder.digests()
    assert digests == {
        "cases.csv": hashlib.sha256(b"cases").hexdigest(),
        "fields/a.nii.gz": hashlib.sha256(b"a").hexdigest(),
    }


def test_a_file_that_may_not_be_read_has_no_digest(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(Store(tmp_path), make_record())
    folder.history.write_text("step")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("hashlib.file_digest", refuse)
    with pytest.raises(StorageError, match=r"history\.csv cannot be read: Permission denied\."):
        folder.digests()


def test_clear_leaves_the_lock(tmp_path: Path, make_record: Make) -> None:
    folder = put(Store(tmp_path), make_record())
    with folder.lock():
        folder.fields.mkdir()
        folder.clear()
        assert [path.name for path in folder.path.iterdir()] == [".lock"]


def test_a_full_disk_leaves_the_record_before(
    tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(Store(tmp_path), make_record(status="interrupted"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="no space left"):
        folder.save(make_record(status="done"))
    monkeypatch.undo()
    record = folder.load()
    assert record is not None
    assert record.status == "interrupted"
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]
