"""ACDC's folder layout."""

from pathlib import Path
from types import ModuleType

import pytest

from regbench.data import check
from regbench.errors import DataError
from regbench_tasks.acdc import Acdc


def test_frames_are_found_by_info_cfg(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_acdc(tmp_path, patients=2)
    (folder / "patient002" / "patient002_frame09_landmarks.csv").unlink()
    (folder / "README.md").write_text("not a patient")
    scans = Acdc().scans(folder)
    assert list(scans) == ["patient001/ED", "patient001/ES", "patient002/ED", "patient002/ES"]
    late = scans["patient001/ES"]
    assert late.id == "patient001/ES"
    assert late.image == folder / "patient001" / "patient001_frame09.nii.gz"
    assert late.labels == folder / "patient001" / "patient001_frame09_gt.nii.gz"
    assert late.landmarks == folder / "patient001" / "patient001_frame09_landmarks.csv"
    assert scans["patient001/ED"].image.name == "patient001_frame01.nii.gz"
    assert scans["patient002/ES"].landmarks is None


def test_the_release_s_own_folders_are_understood(toy: ModuleType, tmp_path: Path) -> None:
    toy.write_acdc(tmp_path / "flat", patients=3)
    nested = tmp_path / "nested"
    for number, part in ((1, "training"), (2, "training"), (3, "testing")):
        (nested / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "flat" / f"patient{number:03d}").rename(nested / part / f"patient{number:03d}")
    scans = Acdc().scans(nested)
    assert len(scans) == 6
    assert scans["patient003/ED"].image.parent == nested / "testing" / "patient003"
    assert set(Acdc().scans(nested / "training")) == {f"patient00{n}/{phase}" for n in (1, 2) for phase in ("ED", "ES")}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_info_cfg_as_the_release_and_editors_write_it(
    toy: ModuleType, tmp_path: Path, newline: str, encoding: str
) -> None:
    folder = toy.write_acdc(tmp_path, patients=1)
    lines = ("ED: 1", "ES: 12", "Group: DCM", "Hôpital: Dijon", "NbFrame: 30", "Weight: 95.0", "")
    (folder / "patient001" / "Info.cfg").write_bytes(newline.join(lines).encode(encoding))
    assert Acdc().scans(folder)["patient001/ES"].image.name == "patient001_frame12.nii.gz"


def test_faults_of_the_layout_leave_the_rest_usable(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_acdc(tmp_path, patients=2)
    (folder / "patient001" / "Info.cfg").write_text("ED: 1\nES: late\n")
    with pytest.raises(DataError, match=r"Info.cfg has no frame number for ES \('late'\)") as caught:
        Acdc().scans(folder)
    assert set(caught.value.usable) == {"patient001/ED", "patient002/ED", "patient002/ES"}


def test_one_frame_for_both_phases_is_a_fault_with_a_remedy(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_acdc(tmp_path, patients=1)
    (folder / "patient001" / "Info.cfg").write_text("ED: 1\nES: 1\n")
    with pytest.raises(DataError, match=r"frame 1 for both ED and ES; correct the wrong one"):
        Acdc().scans(folder)


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"train": 3}'])
def test_a_split_that_is_none_is_named(toy: ModuleType, tmp_path: Path, content: str) -> None:
    folder = toy.write_acdc(tmp_path, patients=1)
    (folder / "split.json").write_text(content)
    with pytest.raises(DataError, match=r"split.json is no readable split"):
        Acdc().scans(folder)


def test_the_card_cites() -> None:
    assert "@article{bernard2018acdc" in Acdc.card.citation
    assert Acdc.modality == "mr"


@pytest.mark.real
def test_the_real_sample_has_no_fault(acdc_folder: Path) -> None:
    assert check(Acdc(), acdc_folder) == []
