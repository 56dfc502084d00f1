"""The cache: what lies in it, and what may go. All of it is made again when it is needed."""

import time
from dataclasses import dataclass
from pathlib import Path

from regbench.data.files.atomic import remove_folder, storage_errors
from regbench.errors import BusyError
from regbench.results.lock import LOCK, TEMPORARY, is_locked, locked

_MARKS = {"cohorts": ("cohort.json",), "phantoms": ("files.json",), "masks": ("masks.safetensors", "workspace")}
_DAY_SECONDS = 86400.0
_IN_USE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder of the cache that regbench made.

    Attributes:
        path: the folder.
        bytes: of its files.
        unused_seconds: since it was last used.
        held: whether a process may be at work on it: it is locked, or was used within the last hour.
    """

    path: Path
    bytes: int
    unused_seconds: float
    held: bool

    @property
    def unused_days(self) -> float:
        """Since it was last used."""
        return self.unused_seconds / _DAY_SECONDS


def cache_entries(cache: Path) -> list[Entry]:
    """Every prepared cohort, phantom cohort and set of masks, longest unused first; nothing else is looked at.

    What a killed process had half made of one is listed as well.

    Args:
        cache: the folder, which need not exist.

    Raises:
        StorageError: where it may not be looked at.
    """
    with storage_errors(cache):
        found = [
            _entry(folder)
            for kind, marks in _MARKS.items()
            for folder in sorted((cache / kind).glob("*"))
            if not folder.is_symlink() and (folder.match(TEMPORARY) or any((folder / mark).exists() for mark in marks))
        ]
    return sorted(found, key=lambda entry: -entry.unused_seconds)


def remove_entry(entry: Entry) -> bool:
    """Remove a folder of the cache, unless a process is at work on it.

    Returns:
        Whether it is gone.

    Raises:
        StorageError: where that is not allowed.
    """
    if entry.held:
        return False
    if not (entry.path / LOCK).exists():
        remove_folder(entry.path)
        return True
    try:
        with locked(entry.path, patience_seconds=0.0):
            remove_folder(entry.path)
    except BusyError:
        return False
    return True


def _entry(folder: Path) -> Entry:
    files = [file.lstat() for file in folder.rglob("*") if file.is_file()]
    lock = folder / LOCK
    used = max([folder.stat().st_mtime] + ([lock.stat().st_mtime] if lock.exists() else []))
    unused = max(0.0, time.time() - used)
    return Entry(folder, sum(file.st_size for file in files), unused, unused < _IN_USE_SECONDS or is_locked(folder))
