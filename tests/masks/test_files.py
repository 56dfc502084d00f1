"""Masks on disk: found, checked against their scan's grid, and resampled as labels are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regbench.api import Grid, MaskRequest, Squeeze, Volume
from regbench.data import write_volume
from regbench.data.cohorts.preprocess import resample_labels
from regbench.errors import BadValueError, DataError
from regbench.masks.files import FileMasks

NATIVE = Grid.centred((12, 10, 8), (2.0, 2.0, 3.0))
TARGET = Squeeze(shape=(6, 10, 8)).target(NATIVE)
LABELS = torch.randint(0, 4, NATIVE.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def request_(tmp_path: Path) -> MaskRequest:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("one", "two"):
        write_volume(scans / f"{name}.nii.gz", Volume(torch.zeros(NATIVE.shape), NATIVE))
    target = Volume(torch.zeros(TARGET.shape), TARGET)
    return MaskRequest(
        scans={"p1/ED": target, "p1/ES": target},
        sources={"p1/ED": scans / "one.nii.gz", "p1/ES": scans / "two.nii.gz"},
        labels={1: "a", 3: "c"},
        training_labels={},
        truth=None,
        workspace=tmp_path,
        device=torch.device("cpu"),
        seed=0,
        modality="mr",
    )


def write(folder: Path, name: str, grid: Grid = NATIVE) -> None:
    folder.mkdir(exist_ok=True)
    write_volume(folder / name, Volume(LABELS[: grid.shape[0]], grid))


def test_by_file_name_and_by_scan_id(request_: MaskRequest, tmp_path: Path) -> None:
    write(tmp_path / "masks", "one.nii.gz")
    write(tmp_path / "masks", "p1_ES.nii.gz")
    masks = FileMasks(folder=tmp_path / "masks").masks(request_)
    expected = resample_labels(LABELS.numpy(), NATIVE, TARGET)
    expected[expected == 2] = 0
    for scan in request_.scans:
        np.testing.assert_array_equal(masks[scan].data.numpy(), expected)
        assert masks[scan].grid.matches(TARGET)


def test_every_missing_file_is_named(request_: MaskRequest, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        FileMasks(folder=tmp_path / "masks").masks(request_)
    assert len(caught.value.faults) == 2
    assert "p1/ES" in caught.value.faults[1]


def test_another_grid_is_refused(request_: MaskRequest, tmp_path: Path) -> None:
    write(tmp_path / "masks", "one.nii.gz", Grid.centred((11, 10, 8), (2.0, 2.0, 3.0)))
    write(tmp_path / "masks", "two.nii.gz", Grid.centred(NATIVE.shape, (2.0, 2.0, 3.2)))
    with pytest.raises(DataError) as caught:
        FileMasks(folder=tmp_path / "masks").masks(request_)
    assert ["one.nii.gz" in caught.value.faults[0], "two.nii.gz" in caught.value.faults[1]] == [True, True]


def test_without_a_folder(request_: MaskRequest) -> None:
    with pytest.raises(BadValueError, match=r"masks\.folder"):
        FileMasks().masks(replace(request_, scans={}))
