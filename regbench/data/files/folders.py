"""Where what can be made again is kept, and folders that are to be filled."""

import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from regbench.errors import StorageError


def cache_folder() -> Path:
    """The folder of everything that is made once and used again: REGBENCH_CACHE if set, else the user's cache."""
    chosen = os.environ.get("REGBENCH_CACHE")
    return Path(chosen) if chosen else user_cache_path("regbench")


def refuse_full(folder: Path) -> None:
    """Refuse to write into a folder that holds something, or into a file.

    Raises:
        StorageError: unless it does not exist yet, or is empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} exists and is not empty; name a new folder.")


def note_use(entry: Path) -> None:
    """Set the time of a folder of the cache, by which is known what was not used for long."""
    with suppress(OSError):  # a cache may be somebody else's, to be read only
        os.utime(entry)
