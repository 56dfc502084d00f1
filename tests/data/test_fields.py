"""Displacement fields in the layout of Learn2Reg."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.api import Field, Grid
from regbench.data import read_field, write_field
from regbench.errors import DataError

SHAPE = (5, 4, 6)
AFFINE = np.array([[2.0, 0.1, 0, -4], [-0.1, 3.0, 0.2, 5], [0.1, 0, 4.0, 6], [0, 0, 0, 1]])


@pytest.fixture
def field() -> Field:
    return Field(torch.from_numpy(np.random.default_rng(0).normal(size=(3, *SHAPE))).float(), Grid(SHAPE, AFFINE))


def test_the_file_holds_voxels_with_the_component_last(tmp_path: Path, field: Field) -> None:
    write_field(tmp_path / "disp.nii.gz", field)
    image = nib.load(tmp_path / "disp.nii.gz")
    assert image.shape == (*SHAPE, 3)
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.get_fdata()[1, 2, 0], field.displacement[:, 1, 2, 0].double())
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)


def test_what_is_written_is_read_back(tmp_path: Path, field: Field) -> None:
    write_field(tmp_path / "disp.nii.gz", field)
    again = read_field(tmp_path / "disp.nii.gz")
    assert torch.equal(again.displacement, field.displacement)
    assert again.grid.matches(field.grid)


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SAL"])
def test_a_field_on_an_image_stored_otherwise_moves_the_same_point_to_the_same_place(
    tmp_path: Path, field: Field, code: str
) -> None:
    image = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE)
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(code))
    nib.save(image.as_reoriented(turn), tmp_path / "fixed.nii.gz")
    write_field(tmp_path / "disp.nii.gz", field, like=tmp_path / "fixed.nii.gz")

    stored = nib.load(tmp_path / "disp.nii.gz")
    fixed = nib.load(tmp_path / "fixed.nii.gz")
    assert stored.shape[:3] == fixed.shape
    moves = {}
    for index in itertools.product(*(range(n) for n in fixed.shape)):
        place = fixed.affine[:3, :3] @ index + fixed.affine[:3, 3]
        moves[tuple(place.round(2))] = fixed.affine[:3, :3] @ stored.get_fdata()[index]
    for index in itertools.product(*(range(n) for n in SHAPE)):
        place = AFFINE[:3, :3] @ index + AFFINE[:3, 3]
        expected = AFFINE[:3, :3] @ field.displacement[:, index[0], index[1], index[2]].double().numpy()
        np.testing.assert_allclose(moves[tuple(place.round(2))], expected, atol=1e-4)

    again = read_field(tmp_path / "disp.nii.gz", like=tmp_path / "fixed.nii.gz")
    assert torch.equal(again.displacement, field.displacement)
    assert again.grid.matches(field.grid)


def test_the_image_s_affine_counts_where_the_field_s_own_says_nothing(tmp_path: Path, field: Field) -> None:
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), tmp_path / "fixed.nii.gz")
    bare = np.moveaxis(field.displacement.numpy(), 0, -1)
    nib.save(nib.Nifti1Image(bare, np.eye(4)), tmp_path / "disp.nii.gz")
    again = read_field(tmp_path / "disp.nii.gz", like=tmp_path / "fixed.nii.gz")
    assert torch.equal(again.displacement, field.displacement)
    assert again.grid.matches(field.grid)


def test_other_layouts_are_refused(tmp_path: Path, field: Field) -> None:
    values = field.displacement.numpy()
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "first.nii.gz")
    with pytest.raises(DataError, match=r"first.nii.gz has shape \(3, 5, 4, 6\)"):
        read_field(tmp_path / "first.nii.gz")

    itk = nib.Nifti1Image(np.moveaxis(values, 0, -1)[:, :, :, None], np.eye(4))
    itk.header.set_intent("vector")
    nib.save(itk, tmp_path / "itk.nii.gz")
    with pytest.raises(DataError, match=r"itk.nii.gz is a field as ITK writes it"):
        read_field(tmp_path / "itk.nii.gz")

    broken = np.moveaxis(values, 0, -1).copy()
    broken[0, 0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(broken, np.eye(4)), tmp_path / "nan.nii.gz")
    with pytest.raises(DataError, match=r"nan.nii.gz holds values that are not finite"):
        read_field(tmp_path / "nan.nii.gz")


def test_a_field_of_another_size_than_its_image_is_refused(tmp_path: Path, field: Field) -> None:
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 4), np.uint8), np.eye(4)), tmp_path / "fixed.nii.gz")
    write_field(tmp_path / "disp.nii.gz", field)
    with pytest.raises(DataError, match=r"disp.nii.gz is a field on \(5, 4, 6\) voxels, but .*fixed.nii.gz has"):
        read_field(tmp_path / "disp.nii.gz", like=tmp_path / "fixed.nii.gz")
    with pytest.raises(DataError, match=r"fixed.nii.gz has"):
        write_field(tmp_path / "other.nii.gz", field, like=tmp_path / "fixed.nii.gz")
