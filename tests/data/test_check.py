"""Spoiled folders: every fault is named, in one go."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from regbench.api import Protocol
from regbench.data import check, load_cohort
from regbench.errors import DataError
from regbench_tasks.abdomen import Abdomen
from regbench_tasks.acdc import Acdc

Spoil = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound_abdomen(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_abdomen(tmp_path_factory.mktemp("abdomen"), cases=20)


@pytest.fixture(scope="module")
def sound_acdc(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_acdc(tmp_path_factory.mktemp("acdc"), patients=32)


@pytest.fixture
def abdomen(sound_abdomen: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_abdomen, tmp_path / "copy"))


@pytest.fixture
def acdc(sound_acdc: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound_acdc, tmp_path / "copy"))


def _fitting(task: Abdomen | Acdc) -> Protocol:
    """The protocol of exactly the patients that the sound folder has."""
    return task.protocols()["sample20" if isinstance(task, Abdomen) else "phantom"]


def _change(path: Path, values: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    """Store an image anew: other values, or another affine."""
    image = nib.load(path)
    changed = values(np.asanyarray(image.dataobj))
    nib.save(nib.Nifti1Image(changed, image.affine if affine is None else affine), path)


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _with(value: float, dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        changed = values.astype(dtype)
        changed[2, 3, 4] = value
        return changed

    return change


def _affine(path: Path, axis: int, factor: float) -> np.ndarray:
    affine = nib.load(path).affine.copy()
    affine[:, axis] *= factor
    return affine


def _image(folder: Path, case: str) -> Path:
    return folder / "imagesTr" / f"AbdomenCTCT_{case}_0000.nii.gz"


def _labels(folder: Path, case: str) -> Path:
    return folder / "labelsTr" / f"AbdomenCTCT_{case}_0000.nii.gz"


def _copy_case(folder: Path, source: str, target: str) -> None:
    for file in (_image, _labels):
        shutil.copy(file(folder, source), file(folder, target))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "AbdomenCTCT_dataset.json"
    listing = json.loads(path.read_text())
    change(listing)
    path.write_text(json.dumps(listing))


def _pair_with_itself(listing: dict) -> None:
    pair = listing["registration_val"][0]
    pair["fixed"] = pair["moving"]


def _entry(case: str) -> dict[str, str]:
    name = f"AbdomenCTCT_{case}_0000.nii.gz"
    return {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"}


ABDOMEN: dict[str, tuple[Spoil, str]] = {
    "image missing": (lambda f: _image(f, "0003").unlink(), "imagesTr/AbdomenCTCT_0003_0000.nii.gz is missing"),
    "labels missing": (lambda f: _labels(f, "0003").unlink(), "labelsTr/AbdomenCTCT_0003_0000.nii.gz is missing"),
    "labels of another shape": (
        lambda f: _change(_labels(f, "0002"), lambda v: v[:-1]),
        "labelsTr/AbdomenCTCT_0002_0000.nii.gz disagrees with its image AbdomenCTCT_0002_0000.nii.gz: "
        "its shape is 23×20×28, not 24×20×28.",
    ),
    "both of another shape": (
        lambda f: [_change(file(f, "0002"), lambda v: v[:, 1:]) for file in (_image, _labels)],
        "imagesTr/AbdomenCTCT_0002_0000.nii.gz disagrees with most other scans, which share one grid: "
        "its shape is 24×19×28, not 24×20×28.",
    ),
    "axes exchanged": (
        lambda f: [_change(file(f, "0002"), lambda v: v.transpose(1, 0, 2)) for file in (_image, _labels)],
        "imagesTr/AbdomenCTCT_0002_0000.nii.gz disagrees with most other scans",
    ),
    "orientation of the labels": (
        lambda f: _change(_labels(f, "0005"), _same, _affine(_labels(f, "0005"), 0, -1)),
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz disagrees with its image AbdomenCTCT_0005_0000.nii.gz: "
        "its orientation is LAS, not RAS.",
    ),
    "orientation of the image": (
        lambda f: _change(_image(f, "0005"), _same, _affine(_image(f, "0005"), 1, -1)),
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz disagrees with its image AbdomenCTCT_0005_0000.nii.gz: "
        "its orientation is RAS, not RPS.",
    ),
    "orientation of the image, in a header that keeps its place": (
        lambda f: _change(_image(f, "0005"), _same, np.diag([-1, 1, 1, 1]) @ nib.load(_image(f, "0005")).affine),
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz disagrees with its image AbdomenCTCT_0005_0000.nii.gz: "
        "its orientation is RAS, not LAS, yet the voxels",
    ),
    "both mirrored by their affines": (
        lambda f: [_change(file(f, "0005"), _same, _affine(file(f, "0005"), 2, -1)) for file in (_image, _labels)],
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz is mirrored or turned",
    ),
    "both mirrored in their voxels": (
        lambda f: [_change(file(f, "0005"), lambda v: v[::-1]) for file in (_image, _labels)],
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz is mirrored or turned",
    ),
    "labels mirrored in their voxels": (
        lambda f: _change(_labels(f, "0005"), lambda v: v[:, ::-1]),
        "labelsTr/AbdomenCTCT_0005_0000.nii.gz is mirrored or turned",
    ),
    "spacing of the labels": (
        lambda f: _change(_labels(f, "0006"), _same, _affine(_labels(f, "0006"), 2, 1.2)),
        "labelsTr/AbdomenCTCT_0006_0000.nii.gz disagrees with its image AbdomenCTCT_0006_0000.nii.gz: "
        "its spacing is 3×4×3 mm, not 3×4×2.5 mm.",
    ),
    "origin of the labels": (
        lambda f: _change(_labels(f, "0006"), _same, nib.load(_labels(f, "0006")).affine + np.eye(4, k=3) * 5),
        "labelsTr/AbdomenCTCT_0006_0000.nii.gz disagrees with its image AbdomenCTCT_0006_0000.nii.gz: "
        "its origin lies 5 mm away.",
    ),
    "label out of range": (
        lambda f: _change(_labels(f, "0007"), _with(14, np.uint8)),
        "labelsTr/AbdomenCTCT_0007_0000.nii.gz holds labels out of range: 14 (1 voxels); expected 0 to 13.",
    ),
    "label that is no integer": (
        lambda f: _change(_labels(f, "0007"), _with(1.5, np.float32)),
        "labelsTr/AbdomenCTCT_0007_0000.nii.gz holds 1 values that are no label numbers, such as 1.5",
    ),
    "negative label": (
        lambda f: _change(_labels(f, "0007"), _with(-1, np.int16)),
        "labelsTr/AbdomenCTCT_0007_0000.nii.gz holds 1 values that are no label numbers, such as -1",
    ),
    "NaN in the labels": (
        lambda f: _change(_labels(f, "0007"), _with(np.nan, np.float32)),
        "labelsTr/AbdomenCTCT_0007_0000.nii.gz holds 1 values that are no label numbers, such as nan",
    ),
    "empty labels": (
        lambda f: _change(_labels(f, "0007"), np.zeros_like),
        "labelsTr/AbdomenCTCT_0007_0000.nii.gz is empty",
    ),
    "NaN": (
        lambda f: _change(_image(f, "0008"), _with(np.nan, np.float32)),
        "imagesTr/AbdomenCTCT_0008_0000.nii.gz holds 1 voxels that are NaN or infinite",
    ),
    "infinity": (
        lambda f: _change(_image(f, "0008"), _with(np.inf, np.float32)),
        "imagesTr/AbdomenCTCT_0008_0000.nii.gz holds 1 voxels that are NaN or infinite",
    ),
    "a blank image": (
        lambda f: _change(_image(f, "0008"), np.zeros_like),
        "imagesTr/AbdomenCTCT_0008_0000.nii.gz holds the same value in every voxel",
    ),
    "four axes": (
        lambda f: _change(_image(f, "0008"), lambda v: np.stack([v, v], -1)),
        "imagesTr/AbdomenCTCT_0008_0000.nii.gz has shape (24, 20, 28, 2); expected three axes",
    ),
    "truncated image": (
        lambda f: _cut(_image(f, "0009")),
        "imagesTr/AbdomenCTCT_0009_0000.nii.gz is truncated",
    ),
    "truncated labels": (
        lambda f: _cut(_labels(f, "0009")),
        "labelsTr/AbdomenCTCT_0009_0000.nii.gz is truncated",
    ),
    "no image at all": (
        lambda f: _image(f, "0009").write_text("<html>404</html>" * 100),
        "imagesTr/AbdomenCTCT_0009_0000.nii.gz is no readable image",
    ),
    "a test case copied from training": (
        lambda f: _copy_case(f, "0002", "0010"),
        "imagesTr/AbdomenCTCT_0010_0000.nii.gz has the same content as",
    ),
    "a case in both lists": (
        lambda f: _edit(f, lambda listing: listing["test"].append(_entry("0004"))),
        "AbdomenCTCT_dataset.json lists AbdomenCTCT_0004_0000.nii.gz in both training and test.",
    ),
    "a case listed twice": (
        lambda f: _edit(f, lambda listing: listing["training"].append(_entry("0004"))),
        "AbdomenCTCT_dataset.json lists AbdomenCTCT_0004_0000.nii.gz twice in training.",
    ),
    "a case not listed": (
        lambda f: _edit(f, lambda listing: listing["training"].pop()),
        "imagesTr/AbdomenCTCT_0020_0000.nii.gz is not among the training images of AbdomenCTCT_dataset.json",
    ),
    "a pair with a stranger": (
        lambda f: _edit(f, lambda listing: listing["registration_val"].append({"fixed": "a/b.nii.gz", "moving": "c"})),
        "AbdomenCTCT_dataset.json names b.nii.gz in registration_val, which training does not list.",
    ),
    "a pair with itself": (
        lambda f: _edit(f, _pair_with_itself),
        "AbdomenCTCT_dataset.json pairs AbdomenCTCT_0004_0000.nii.gz with itself in registration_val.",
    ),
    "no dataset file": (
        lambda f: (f / "AbdomenCTCT_dataset.json").unlink(),
        "AbdomenCTCT_dataset.json is missing",
    ),
    "a dataset file that is no JSON": (
        lambda f: (f / "AbdomenCTCT_dataset.json").write_text("{"),
        "AbdomenCTCT_dataset.json is no readable JSON file",
    ),
    "a dataset file of another form": (
        lambda f: (f / "AbdomenCTCT_dataset.json").write_text('{"training": "all"}'),
        "AbdomenCTCT_dataset.json has an unexpected form",
    ),
    "a file of another name": (
        lambda f: shutil.copy(_image(f, "0001"), f / "imagesTr" / "scan.nii.gz"),
        "imagesTr/scan.nii.gz has a name that is not expected",
    ),
    "landmarks": (
        lambda f: (f / "landmarksTr" / "AbdomenCTCT_0001_0000.csv").write_text("x,y\n1,2\n"),
        "landmarksTr/AbdomenCTCT_0001_0000.csv has the columns x, y; expected name, x, y, z.",
    ),
}  # fmt: skip


def _frame(folder: Path, name: str) -> Path:
    return folder / name[:10] / f"{name}.nii.gz"


ACDC: dict[str, tuple[Spoil, str]] = {
    "no Info.cfg": (
        lambda f: (f / "patient003" / "Info.cfg").unlink(),
        "patient003/Info.cfg is missing",
    ),
    "no frame number": (
        lambda f: (f / "patient003" / "Info.cfg").write_text("ED: 1\nGroup: NOR\n"),
        "patient003/Info.cfg has no frame number for ES ('')",
    ),
    "one frame for both": (
        lambda f: (f / "patient003" / "Info.cfg").write_text("ED: 1\nES: 1\n"),
        "patient003/Info.cfg gives frame 1 for both ED and ES; correct the wrong one",
    ),
    "a frame that is not there": (
        lambda f: (f / "patient003" / "Info.cfg").write_text("ED: 1\nES: 8\n"),
        "patient003/patient003_frame08.nii.gz is missing",
    ),
    "frames on different grids": (
        lambda f: [
            _change(_frame(f, f"patient005_frame09{part}"), _same, np.diag([1.5, 1.5, 8, 1])) for part in ("", "_gt")
        ],
        "patient005/patient005_frame09.nii.gz disagrees with patient005_frame01.nii.gz, its patient's: "
        "its spacing is 1.5×1.5×8 mm, not 1.5×1.5×10 mm.",
    ),
    "label out of range": (
        lambda f: _change(_frame(f, "patient006_frame01_gt"), _with(4, np.uint8)),
        "patient006_frame01_gt.nii.gz holds labels out of range: 4 (1 voxels); expected 0 to 3.",
    ),
    "a test patient copied from training": (
        lambda f: [
            shutil.copy(_frame(f, f"patient002_frame{part}"), _frame(f, f"patient007_frame{part}"))
            for part in ("01", "01_gt", "09", "09_gt")
        ],
        "patient007/patient007_frame09.nii.gz has the same content as",
    ),
    "a frame copied over the other": (
        lambda f: shutil.copy(_frame(f, "patient002_frame01"), _frame(f, "patient002_frame09")),
        "patient002/patient002_frame09.nii.gz has the same content as",
    ),
    "a patient in both folders of the release": (
        lambda f: shutil.copytree(f / "patient004", f / "testing" / "patient004"),
        "patient004 is in both train and test of the release",
    ),
    "a patient on both sides of split.json": (
        lambda f: (f / "split.json").write_text(
            json.dumps({"train": ["patient001", "patient002"], "validation": ["patient002"]})
        ),
        "split.json puts patient002 in both train and validation",
    ),
}


def test_sound_folders_have_no_fault(sound_abdomen: Path, sound_acdc: Path) -> None:
    assert check(Abdomen(), sound_abdomen, _fitting(Abdomen())) == []
    assert check(Abdomen(), sound_abdomen) == []
    assert check(Acdc(), sound_acdc, _fitting(Acdc())) == []
    assert check(Acdc(), sound_acdc) == []


@pytest.mark.parametrize("name", ABDOMEN)
def test_a_spoiled_abdomen_is_named(abdomen: Path, name: str) -> None:
    spoil, said = ABDOMEN[name]
    spoil(abdomen)
    faults = check(Abdomen(), abdomen, _fitting(Abdomen()))
    assert any(said in fault for fault in faults), faults
    assert all(fault.endswith(".") for fault in faults)


@pytest.mark.parametrize("name", ACDC)
def test_a_spoiled_heart_is_named(acdc: Path, name: str) -> None:
    spoil, said = ACDC[name]
    spoil(acdc)
    faults = check(Acdc(), acdc, _fitting(Acdc()))
    assert any(said in fault for fault in faults), faults
    assert all(fault.endswith(".") for fault in faults)


def test_all_faults_come_in_one_go_and_nothing_else(abdomen: Path) -> None:
    chosen = {
        "0001": "landmarks",
        "0002": "labels of another shape",
        "0003": "labels missing",
        "0005": "orientation of the labels",
        "0006": "spacing of the labels",
        "0007": "label out of range",
        "0008": "NaN",
        "0009": "truncated image",
        "0020": "a case not listed",
    }
    for name in chosen.values():
        ABDOMEN[name][0](abdomen)
    faults = check(Abdomen(), abdomen, _fitting(Abdomen()))
    for case, name in chosen.items():
        assert any(ABDOMEN[name][1] in fault for fault in faults), faults
        assert sum(case in fault.partition(" ")[0] for fault in faults) == 1 + (case in {"0005"}), faults
    assert len(faults) == len(chosen) + 1  # the turned label map is told twice: by its affine and by its organs


def test_a_copy_across_training_and_test_is_called_a_leak(abdomen: Path) -> None:
    _copy_case(abdomen, "0002", "0010")
    faults = check(Abdomen(), abdomen, _fitting(Abdomen()))
    assert len(faults) == 2
    assert all("the same case would be in both train and test" in fault for fault in faults)
    _copy_case(abdomen, "0004", "0010")
    faults = check(Abdomen(), abdomen, _fitting(Abdomen()))
    assert len(faults) == 2
    assert not any("train and test" in fault for fault in faults)


def test_a_file_that_is_named_twice_is_no_copy_of_itself(acdc: Path) -> None:
    ACDC["one frame for both"][0](acdc)
    (fault,) = check(Acdc(), acdc, _fitting(Acdc()))
    assert ACDC["one frame for both"][1] in fault


def test_what_a_protocol_lacks_is_said(sound_abdomen: Path) -> None:
    faults = check(Abdomen(), sound_abdomen, Abdomen().protocols()["ipmi25"])
    assert len(faults) == 1
    assert "lacks 10 of the scans that the protocol ipmi25 names: 0021, 0023, 0024" in faults[0]


def test_a_scan_that_is_gone_without_a_trace_is_missed_by_the_fitting_protocol(abdomen: Path) -> None:
    for file in (_image, _labels):
        file(abdomen, "0020").unlink()
    _edit(abdomen, lambda listing: listing["training"].pop())
    (fault,) = check(Abdomen(), abdomen)
    assert "lacks 1 of the scans that the protocol sample20 names: 0020" in fault


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    for task in (Abdomen(), Acdc()):
        assert "is no folder" in check(task, tmp_path / "none")[0]
        assert check(task, tmp_path)[-1].startswith(f"{tmp_path} has no ")
        assert check(task, tmp_path / ("x" * 300))[0].endswith("x cannot be read: File name too long.")


def test_scans_further_down_are_pointed_to(sound_abdomen: Path, sound_acdc: Path, tmp_path: Path) -> None:
    """As an archive unpacks that has a folder or two of its own."""
    for task, folder in ((Abdomen(), sound_abdomen), (Acdc(), sound_acdc)):
        top = tmp_path / type(task).__name__
        copied = shutil.copytree(folder, top / "archive" / "copy")
        assert f"in {copied}: give that" in check(task, top)[-1]


def test_a_stored_order_is_no_fault(abdomen: Path) -> None:
    """Other orders of storage are well, as long as the affine says so; also for one of the two files."""
    for file, case, code in ((_image, "0005", "SPL"), (_labels, "0005", "SPL"), (_image, "0006", "LPS")):
        image = nib.load(file(abdomen, case))
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(code))
        nib.save(image.as_reoriented(turn), file(abdomen, case))
    assert check(Abdomen(), abdomen) == []


def test_labels_over_an_even_lung_in_the_stored_order_are_no_fault(acdc: Path) -> None:
    """A heart beside a lung: within one label the lung is the more even of the two, and yet it is not what is meant."""
    scan = next((acdc / "patient001").glob("*_gt.nii.gz"))
    image = scan.with_name(scan.name.replace("_gt", ""))
    header = nib.load(image)
    shape = header.shape
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    ball = ((x - 0.25) / 0.2) ** 2 + ((y - 0.5) / 0.3) ** 2 + ((z - 0.5) / 0.4) ** 2
    labels = ((ball < 1).astype(np.uint8) + (ball < 0.5) + (ball < 0.2)).astype(np.uint8)
    random = np.random.default_rng(0)
    heart = np.array([60.0, 150.0, 400.0, 250.0])[labels] + random.normal(0, 40, shape)
    lung = 20 + random.normal(0, 5, shape)
    values = np.where(x < 0.5, heart, lung).astype(np.float32)
    nib.save(nib.Nifti1Image(values, header.affine), image)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(header.affine), nib.orientations.axcodes2ornt(("L", "A", "S"))
    )
    nib.save(nib.Nifti1Image(labels, header.affine).as_reoriented(turn), scan)
    assert not [fault for fault in check(Acdc(), acdc) if "orientation" in fault]
    nib.save(nib.Nifti1Image(labels, nib.load(scan).affine), scan)  # now only the header says it
    assert any("one of the two headers is wrong" in fault for fault in check(Acdc(), acdc))


def test_a_spoiled_folder_is_not_loaded_and_says_all_of_it(abdomen: Path) -> None:
    ABDOMEN["truncated image"][0](abdomen)
    ABDOMEN["label out of range"][0](abdomen)
    with pytest.raises(DataError) as caught:
        load_cohort(Abdomen(), abdomen, _fitting(Abdomen()).at((12, 10, 14)))
    assert len(caught.value.faults) == 2


def test_a_contradiction_of_the_layout_stops_a_load_that_the_cache_could_serve(abdomen: Path) -> None:
    small = _fitting(Abdomen()).at((12, 10, 14))
    load_cohort(Abdomen(), abdomen, small)
    ABDOMEN["a case in both lists"][0](abdomen)
    with pytest.raises(DataError, match="in both training and test"):
        load_cohort(Abdomen(), abdomen, small)


def test_patients_may_lie_anywhere_in_the_world_as_long_as_their_voxels_are_aligned(abdomen: Path) -> None:
    for file in (_image, _labels):
        _change(file(abdomen, "0004"), _same, nib.load(file(abdomen, "0004")).affine + np.eye(4, k=3) * 40)
    assert check(Abdomen(), abdomen) == []
    for file in (_image, _labels):
        _change(file(abdomen, "0004"), _same, _affine(file(abdomen, "0004"), 1, 1.5))
    (fault,) = check(Abdomen(), abdomen)
    assert "most other scans, which share one grid: its spacing is 3×6×2.5 mm, not 3×4×2.5 mm." in fault
