"""A lock on a folder that dies with the process that holds it."""

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regbench.data.files.atomic import storage_errors
from regbench.errors import BusyError

LOCK = ".lock"
TEMPORARY = ".*.tmp.*"
_PATIENCE_SECONDS = 1.0  # a reader that looks whether the lock is free holds it for a moment


@contextmanager
def locked(folder: Path, *, patience_seconds: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Hold a folder: no other process (nor thread) that asks for it gets it meanwhile.

    The operating system frees it when the process ends, however it ends. What a holder that was killed had half written
    or half removed is swept away first.

    Args:
        folder: made if it is not there.
        patience_seconds: how long to wait for another holder.

    Raises:
        BusyError: if it is still held after that.
        StorageError: if the folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with storage_errors(folder):
            _acquire(handle, folder, time.monotonic() + patience_seconds)
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            _sweep(folder)
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a live process holds the folder."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _acquire(handle: int, folder: Path, deadline: float) -> None:
    while not _try(handle, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(
                f"Another process (number {holder}) holds {folder}; wait until it has finished, or stop it first."
            )
        time.sleep(0.02)


def _sweep(folder: Path) -> None:
    for left in [*folder.rglob(TEMPORARY)]:
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _try(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
