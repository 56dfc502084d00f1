"""Files and folders are there whole or not at all."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regbench.data import remove_folder, replacing_file, replacing_folder, write_bytes, write_text
from regbench.errors import StorageError


@contextmanager
def small_files_only() -> Iterator[None]:
    """A real limit of 4096 bytes a file, as a full disk is: writing fails in the middle.

    It holds for the whole process, so it has to end before the test does: the log of the tests may be a file as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_into_folders_that_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "één\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "één\n".encode()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")
    with small_files_only(), pytest.raises(StorageError, match="weights cannot be written: the file would be larger"):
        write_bytes(path, bytes(10_000))
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["weights"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing_file(path) as temporary:
        _ = temporary.write_text("half") / 0
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["run.json"]


def test_the_temporary_name_ends_as_the_file_does(tmp_path: Path) -> None:
    with replacing_file(tmp_path / "image.nii.gz") as temporary:
        assert temporary.name.endswith("image.nii.gz")
        assert temporary.parent == tmp_path
        temporary.write_text("")


def test_a_path_through_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "file" / "inner", "x")


def test_of_two_that_fill_a_folder_at_once_the_first_is_kept_and_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "cohort"
    with replacing_folder(path) as slow:
        with replacing_folder(path) as fast:
            (fast / "who").write_text("fast")
        (slow / "who").write_text("slow")
    assert (path / "who").read_text() == "fast"
    assert _names(tmp_path) == ["cohort"]


def test_a_folder_that_fails_is_not_there(tmp_path: Path) -> None:
    with small_files_only(), pytest.raises(StorageError), replacing_folder(tmp_path / "cohort") as temporary:
        (temporary / "voxels").write_bytes(bytes(10_000))
    assert _names(tmp_path) == []


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path) -> None:
    young, old = tmp_path / ".0123.tmp.cohort", tmp_path / ".4567.tmp.cohort"
    for left in (young, old):
        left.mkdir()
        (left / "voxels").write_text("")
    two_days_ago = time.time() - 2 * 86400
    os.utime(old, (two_days_ago, two_days_ago))
    with replacing_folder(tmp_path / "cohort"):
        pass
    assert _names(tmp_path) == [young.name, "cohort"]


def test_what_another_process_has_just_put_into_its_place_is_no_error_for_the_sweep(tmp_path: Path) -> None:
    (tmp_path / ".0123456789ab.tmp.other").symlink_to(tmp_path / "nowhere")  # seen in the list, and gone when asked
    with replacing_folder(tmp_path / "mine") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "mine" / "file").read_text() == "x"


def test_a_folder_is_removed_and_none_is_well_too(tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "voxels").write_text("")
    remove_folder(tmp_path / "cohort")
    remove_folder(tmp_path / "cohort")
    assert _names(tmp_path) == []


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)  # as /dev/stdout is one
    for path in (pipe, folder, link):
        with pytest.raises(StorageError, match=f"{path.name} cannot be written: it is no plain file; name a file"):
            write_text(path, "content")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert _names(tmp_path) == ["folder", "link", "pipe"]
