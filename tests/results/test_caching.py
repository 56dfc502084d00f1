"""What may leave the cache, and what stays."""

import os
import time
from pathlib import Path

import pytest

from regbench.errors import StorageError
from regbench.results.caching import cache_entries, remove_entry
from regbench.results.lock import locked

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """One folder of each kind, and things that regbench did not make."""
    for name, mark in (("cohorts/a", "cohort.json"), ("phantoms/b", "files.json"), ("masks/c", "masks.safetensors")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / mark).write_bytes(b"x" * 100)
    (tmp_path / "masks" / "c" / ".lock").touch()
    (tmp_path / "cohorts" / "thesis").mkdir()
    (tmp_path / "cohorts" / "thesis" / "chapter.tex").write_text("mine")
    (tmp_path / "cohorts" / "link").symlink_to(tmp_path / "cohorts" / "a", target_is_directory=True)
    return tmp_path


def age(folder: Path, days: float) -> None:
    for path in (folder, folder / ".lock"):
        if path.exists():
            os.utime(path, (time.time() - days * DAY,) * 2)


def test_only_what_regbench_made_is_listed_longest_unused_first(cache: Path) -> None:
    for name, days in (("cohorts/a", 1), ("phantoms/b", 3), ("masks/c", 2)):
        age(cache / name, days)
    entries = cache_entries(cache)
    assert [entry.path.name for entry in entries] == ["b", "c", "a"]
    assert [entry.bytes for entry in entries] == [100, 100, 100]
    assert [round(entry.unused_days, 2) for entry in entries] == [3, 2, 1]
    assert all(remove_entry(entry) for entry in entries)
    assert sorted(path.name for path in cache.glob("*/*")) == ["link", "thesis"]


def test_what_a_killed_process_had_half_made_goes_as_well(cache: Path) -> None:
    half = cache / "cohorts" / ".0123456789ab.tmp.d"
    (half / "0000-image.npy").parent.mkdir()
    (half / "0000-image.npy").write_bytes(b"x" * 7)
    (entry,) = (entry for entry in cache_entries(cache) if entry.path == half)
    assert (entry.bytes, entry.held) == (7, True), "somebody may be at it"
    age(half, 1)
    (entry,) = (entry for entry in cache_entries(cache) if entry.path == half)
    assert remove_entry(entry)
    assert not half.exists()


def test_what_was_just_used_or_is_locked_stays(cache: Path) -> None:
    age(cache / "phantoms" / "b", 1)
    with locked(cache / "masks" / "c"):
        age(cache / "masks" / "c", 1)
        held = {entry.path.name: entry.held for entry in cache_entries(cache)}
        assert held == {"a": True, "b": False, "c": True}
        assert not any(remove_entry(entry) for entry in cache_entries(cache) if entry.held)
    (entry,) = (entry for entry in cache_entries(cache) if entry.path.name == "c")
    assert not entry.held
    with locked(cache / "masks" / "c"):
        assert not remove_entry(entry), "locked since it was looked at"
    assert (cache / "masks" / "c").is_dir()


def test_a_lock_that_may_not_be_opened_is_told(cache: Path) -> None:
    (cache / "masks" / "c" / ".lock").unlink()
    (cache / "masks" / "c" / ".lock").mkdir()  # root may open everything else
    age(cache / "masks" / "c", 1)
    (entry,) = (entry for entry in cache_entries(cache) if entry.path.name == "c")
    with pytest.raises(StorageError, match=r"masks/c cannot be written"):
        remove_entry(entry)


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    assert cache_entries(tmp_path / "none") == []


def test_a_cache_that_may_not_be_looked_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: File name too long"):
        cache_entries(tmp_path / ("x" * 300))
