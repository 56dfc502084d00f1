"""Masks without registration: scored against the truth, and written where their scans lie."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.api import Grid, Protocol, Squeeze, Volume
from regbench.data import Cohort, read_volume, write_volume
from regbench.data.cohorts.preprocess import resample_labels
from regbench.engine.evaluation.masks_alone import masks_alone
from regbench.errors import DataError
from regbench.masks.writing import write_masks


def test_dice_of_each_structure_of_each_test_scan(toy_cohort: Cohort) -> None:
    assert toy_cohort.labels is not None
    masks = {
        scan: Volume(toy_cohort.label_map(scan).data.clone(), toy_cohort.image(scan).grid) for scan in toy_cohort.ids
    }
    masks["0004"].data[masks["0004"].data == 2] = 0
    half = masks["0001"].data == 1
    half[:, :, ::2] = False
    masks["0001"].data[half] = 0
    scores = masks_alone(toy_cohort.with_masks(masks))
    assert scores.keys() == {"0001", "0004"}
    assert scores["0004"] == {1: 1.0, 2: 0.0, 3: 1.0}
    truth, mask = toy_cohort.label_map("0001").data == 1, masks["0001"].data == 1
    expected = 2 * int((truth & mask).sum()) / (int(truth.sum()) + int(mask.sum()))
    assert scores["0001"] == pytest.approx({1: expected, 2: 1.0, 3: 1.0})
    assert 0.5 < expected < 0.8


def test_a_structure_that_a_scan_lacks_is_left_out(toy_cohort: Cohort) -> None:
    assert toy_cohort.labels is not None
    masks = {scan: toy_cohort.label_map(scan) for scan in toy_cohort.ids}
    labels = toy_cohort.labels.clone()
    labels[toy_cohort.position("0004")][labels[toy_cohort.position("0004")] == 3] = 0
    assert masks_alone(replace(toy_cohort.with_masks(masks), labels=labels))["0004"].keys() == {1, 2}


def test_what_cannot_be_scored(toy_cohort: Cohort) -> None:
    with pytest.raises(DataError, match="no masks"):
        masks_alone(toy_cohort)
    with pytest.raises(DataError, match="no label maps"):
        masks_alone(replace(toy_cohort, labels=None))


@pytest.mark.parametrize("stored", ["RAS", "LPS", "SAR"])
def test_a_file_lies_voxel_for_voxel_on_its_scan(tmp_path: Path, toy_cohort: Cohort, stored: str) -> None:
    native = Grid.centred((12, 10, 8), (2.0, 2.5, 3.0))
    write_volume(tmp_path / "ras.nii.gz", Volume(torch.rand(native.shape), native))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(stored))
    nib.save(nib.load(tmp_path / "ras.nii.gz").as_reoriented(turn), tmp_path / "scan.nii.gz")
    grid = Squeeze(shape=(6, 10, 16)).target(native)
    mask = torch.randint(0, 4, grid.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    protocol: Protocol = toy_cohort.protocol
    cohort = Cohort(
        protocol=protocol,
        ids=("p1/ED",),
        images=torch.zeros(1, 1, *grid.shape),
        labels=None,
        grids=(grid,),
        masks=mask[None, None],
        sources={"p1/ED": tmp_path / "scan.nii.gz"},
    )
    write_masks(cohort, tmp_path / "out")
    written, scan = nib.load(tmp_path / "out" / "p1_ED.nii.gz"), nib.load(tmp_path / "scan.nii.gz")
    assert written.shape == scan.shape
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, scan.affine, atol=1e-5)
    expected = resample_labels(mask.numpy(), grid, native)
    np.testing.assert_array_equal(read_volume(tmp_path / "out" / "p1_ED.nii.gz", "labels").data.numpy(), expected)


def test_without_masks_there_is_nothing_to_write(tmp_path: Path, toy_cohort: Cohort) -> None:
    with pytest.raises(DataError, match="no masks"):
        write_masks(replace(toy_cohort, sources=dict.fromkeys(toy_cohort.ids, Path())), tmp_path / "out")
