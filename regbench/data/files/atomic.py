"""Files and folders that are there whole or not at all.

What is written goes to a temporary neighbour, is flushed to the disk and takes its place by one rename, so that a
reader, a second writer or a power cut never meets half a file.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regbench.errors import StorageError

_MARK = ".tmp."
_DAY_SECONDS = 86400.0

_REASONS = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EEXIST: "something of that name is in the way",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system says while `path` is written into a sentence.

    Raises:
        StorageError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"{path} cannot be written: {reason}; make room there or choose another folder.") from error


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` when the block ends well, and is removed when it does not.

    Missing parent folders are made.

    Raises:
        StorageError: where the folder cannot be written or is full, or something of that name is no plain file.
    """
    with storage_errors(path):
        if path.exists() and not path.is_file():  # a rename would put a file into the place of /dev/full itself
            raise StorageError(f"{path} cannot be written: it is no plain file; name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(path)
        try:
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `path` when the block ends well, unless another process was first.

    Two processes that fill the same folder at once both succeed, and the one that ends first is kept.

    Raises:
        StorageError: where the folder cannot be written or is full.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(path)
        try:
            sweep(path.parent)
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                flush(file)
            _take_place(temporary, path)
            flush(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Take a folder away in one step, so that nobody finds half of it; none there is well too.

    Raises:
        StorageError: where that is not allowed.
    """
    with storage_errors(path):
        aside = neighbour(path)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
    shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a whole file atomically.

    Raises:
        StorageError: where it cannot be written.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole text file atomically, in UTF-8 and with the line ends as they are.

    Raises:
        StorageError: where it cannot be written.
    """
    write_bytes(path, content.encode())


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def neighbour(path: Path) -> Path:
    """An unused name in the same folder, so that the rename stays on one file system; its suffix is the file's own."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}{_MARK}{path.name}")


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left in a folder more than a day ago."""
    for left in folder.glob(f".*{_MARK}*"):
        with suppress(FileNotFoundError):  # of a live process, which has just put it into its place
            if time.time() - left.stat().st_mtime > _DAY_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _take_place(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
