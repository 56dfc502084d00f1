import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from regbench.errors import BusyError, StorageError
from regbench.results import is_locked, locked

HOLD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from regbench.results import locked
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
)


def test_a_second_holder_is_told_who_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:  # noqa: S603
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        with pytest.raises(BusyError, match=f"number {holder.pid}"), locked(tmp_path, patience_seconds=0.05):
            pass
        holder.kill()
        holder.wait()
        assert not is_locked(tmp_path)
        with locked(tmp_path):
            assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_waits_as_long_as_it_may(tmp_path: Path) -> None:
    with locked(tmp_path):
        begun = time.monotonic()
        with pytest.raises(BusyError), locked(tmp_path, patience_seconds=0.2):
            pass
        assert time.monotonic() - begun >= 0.2


def test_a_look_at_the_lock_does_not_take_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path / "nowhere")


def test_is_freed_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locked(tmp_path):
        raise ValueError("inside")
    assert not is_locked(tmp_path)


def test_what_a_killed_holder_left_is_swept_by_the_next(tmp_path: Path) -> None:
    removed = tmp_path / ".ba9876543210.tmp.fields"
    for left in (tmp_path / "workspace" / ".0123456789ab.tmp.state.pt", removed / ".0123456789ab.tmp.disp.nii.gz"):
        left.parent.mkdir()
        left.write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"whole")
    with locked(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "whole", "workspace"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a part of its path is a file"), locked(tmp_path / "file" / "run"):
        pass
