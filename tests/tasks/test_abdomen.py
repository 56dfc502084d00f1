"""The abdomen's folder layout."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from regbench.data import check
from regbench.errors import DataError
from regbench_tasks.abdomen import Abdomen


def test_files_are_found_by_case(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_abdomen(tmp_path, cases=3)
    (folder / "landmarksTr" / "AbdomenCTCT_0002_0000.csv").unlink()
    scans = Abdomen().scans(folder)
    assert list(scans) == ["0001", "0002", "0003"]
    first = scans["0001"]
    assert first.id == "0001"
    assert first.image == folder / "imagesTr" / "AbdomenCTCT_0001_0000.nii.gz"
    assert first.labels == folder / "labelsTr" / "AbdomenCTCT_0001_0000.nii.gz"
    assert first.landmarks == folder / "landmarksTr" / "AbdomenCTCT_0001_0000.csv"
    assert scans["0002"].landmarks is None


def test_the_official_dataset_file_is_understood(toy: ModuleType, tmp_path: Path) -> None:
    """Learn2Reg's file lists test scans as plain names, or as entries; both are well."""
    folder = toy.write_abdomen(tmp_path, cases=3)
    path = folder / "AbdomenCTCT_dataset.json"
    listing = json.loads(path.read_text())
    for test in (["./imagesTs/AbdomenCTCT_0031_0000.nii.gz"], [{"image": "./imagesTs/AbdomenCTCT_0031_0000.nii.gz"}]):
        path.write_text(json.dumps(listing | {"test": test}))
        assert set(Abdomen().scans(folder)) == {"0001", "0002", "0003"}


def test_faults_of_the_layout_leave_the_rest_usable(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_abdomen(tmp_path, cases=3)
    (folder / "AbdomenCTCT_dataset.json").unlink()
    with pytest.raises(DataError, match=r"AbdomenCTCT_dataset.json is missing") as caught:
        Abdomen().scans(folder)
    assert set(caught.value.usable) == {"0001", "0002", "0003"}


def test_a_dataset_file_as_editors_write_it_and_one_without_end(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_abdomen(tmp_path, cases=3)
    path = folder / "AbdomenCTCT_dataset.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert set(Abdomen().scans(folder)) == {"0001", "0002", "0003"}
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="no readable JSON file"):
        Abdomen().scans(folder)


def test_a_listed_scan_that_is_gone_is_still_looked_for(toy: ModuleType, tmp_path: Path) -> None:
    folder = toy.write_abdomen(tmp_path, cases=3)
    (folder / "imagesTr" / "AbdomenCTCT_0002_0000.nii.gz").unlink()
    assert not Abdomen().scans(folder)["0002"].image.exists()


def test_the_card_cites() -> None:
    assert "@misc{landman2015btcv" in Abdomen.card.citation
    assert Abdomen.modality == "ct"


@pytest.mark.real
def test_the_real_sample_has_no_fault(abdomen_ct_folder: Path) -> None:
    assert check(Abdomen(), abdomen_ct_folder) == []


def test_hidden_files_that_a_mac_leaves_are_no_scans(tmp_path: Path) -> None:
    Abdomen().phantom(tmp_path, cases=2, seed=0, shape=(24, 20, 32))
    (tmp_path / "imagesTr" / "._AbdomenCTCT_0001_0000.nii.gz").write_bytes(b"Mac OS X")
    assert sorted(Abdomen().scans(tmp_path)) == ["0001", "0002"]
