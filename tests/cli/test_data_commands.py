"""`regbench data`: check, prepare, phantom."""

import gzip
import os
import time
from pathlib import Path

BALLS = Path(__file__).parents[1] / "plugins" / "toybox" / "src" / "toybox" / "balls.py"


def test_phantoms_are_sound_and_the_same_again(call, balls_folder: Path, tmp_path: Path) -> None:
    result = call("data", "check", "balls", "--data", balls_folder, "--plugin", BALLS)
    assert result.exit_code == 0, result.output
    assert "is sound" in result.stdout
    call("data", "phantom", "balls", "--out", tmp_path / "again", "--plugin", BALLS)  # as many as its protocol has
    names = sorted(file.name for file in balls_folder.iterdir())
    assert len(names) == 18
    for name in names:
        assert (balls_folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_phantoms_do_not_overwrite(call, balls_folder: Path) -> None:
    result = call("data", "phantom", "balls", "--out", balls_folder, "--plugin", BALLS)
    assert result.exit_code == 2
    assert "not empty" in result.stderr


def test_every_fault_in_one_go(call, balls_folder: Path) -> None:
    (balls_folder / "c1.nii.gz").write_bytes(b"nothing")
    (balls_folder / "c4_labels.nii.gz").unlink()
    result = call("data", "check", "balls", "--data", balls_folder, "--plugin", BALLS)
    assert result.exit_code == 2
    assert "c1.nii.gz" in result.stderr
    assert "c4_labels.nii.gz" in result.stderr
    assert call("data", "prepare", "balls", "--data", balls_folder, "--plugin", BALLS).exit_code == 2


def test_scans_are_prepared_ahead(call, balls_folder: Path) -> None:
    result = call("data", "prepare", "balls", "--data", balls_folder, "--grid", "12x10x8", "--plugin", BALLS)
    assert result.exit_code == 0, result.output
    assert "12×10×8 voxels" in result.stdout
    assert Path(result.stdout.split(" in ")[-1].strip(" .\n")).is_dir()


def test_unknown_tasks_and_protocols(call, balls_folder: Path) -> None:
    assert "did you mean 'acdc'" in call("data", "check", "acdd", "--data", balls_folder).stderr
    result = call("data", "check", "balls", "--data", balls_folder, "--protocol", "some", "--plugin", BALLS)
    assert result.exit_code == 2
    assert "no protocol of the task balls called 'some'" in result.stderr


def test_the_cache_is_cleaned_of_what_was_not_used_for_long(run, call, monkeypatch, tmp_path: Path) -> None:
    cache = tmp_path / "own cache"
    monkeypatch.setenv("REGBENCH_CACHE", str(cache))
    run("--method", "identity")
    (cohort,), (phantoms,) = (list((cache / kind).iterdir()) for kind in ("cohorts", "phantoms"))
    assert "removed: 0.0 MiB" in call("data", "clean", "--older-than", "0").stdout, "just used"
    os.utime(cohort, (time.time() - 40 * 86400.0,) * 2)
    os.utime(phantoms, (time.time() - 2 * 86400.0,) * 2)
    result = call("data", "clean", "--dry-run")
    assert f"would go: 0.1 MiB, not used for 40 days: cohorts/{cohort.name}" in result.stdout
    assert cohort.is_dir()
    assert call("data", "clean").exit_code == 0
    assert (cohort.is_dir(), phantoms.is_dir()) == (False, True)
    assert run("--method", "identity", "--force").exit_code == 0
    assert cohort.is_dir(), "made again"
    assert time.time() - phantoms.stat().st_mtime < 3600, "a use is noted"
    assert "GiB in 2 folders" in " ".join(call("doctor").stdout.split())


def test_a_spoiled_header_is_said_once(call, balls_folder: Path, caplog) -> None:
    (balls_folder / "c4_labels.nii.gz").write_bytes(gzip.compress(b"x" * 400))
    result = call("data", "check", "balls", "--data", balls_folder, "--plugin", BALLS)
    assert result.exit_code == 2
    assert result.stderr.count("c4_labels.nii.gz is no readable image") == 1
    assert caplog.text == ""
