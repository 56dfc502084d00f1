"""Fields in ITK's layout: SimpleITK has to move a scan to where regbench moves it."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody calls it
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from regbench.api import Field, Grid, Volume
from regbench.data import read_field, write_itk_field, write_volume
from regbench.errors import DataError
from regbench.spatial import warp

SHAPE = (17, 13, 11)


def grid(angles: tuple[float, float, float], spacing: tuple[float, float, float], origin: list[float]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return Grid(SHAPE, affine)


FIXED = grid((20, -15, 35), (1.5, 0.8, 3.0), [-40, 25, 110])
MOVING = grid((-10, 25, 5), (1.2, 1.1, 2.5), [-30, 10, 130])


def smooth(seed: int, size: float, *shape: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=shape)
    made = gaussian_filter(noise, [0] * (len(shape) - 3) + [2] * 3)
    return torch.from_numpy(made / np.abs(made).max() * size).float()


@pytest.fixture
def field() -> Field:
    return Field(smooth(0, 2.5, 3, *SHAPE), FIXED)


def by_sitk(folder: Path, moving: Volume, field: Field, reference: Volume, interpolator: int) -> np.ndarray:
    """The moving scan resampled by SimpleITK, which knows nothing but the three files."""
    write_volume(folder / "moving.nii.gz", moving)
    write_volume(folder / "fixed.nii.gz", reference)
    vectors = sitk.ReadImage(str(folder / "field.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(vectors)
    fixed, image = (sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    moved = sitk.Resample(image, fixed, transform, interpolator, 0.0)
    return sitk.GetArrayFromImage(moved).transpose(2, 1, 0)


def inside(field: Field) -> np.ndarray:
    """Where both look the moving scan up between its voxel centres; beyond them each has its own way of ending it."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    point = index + field.displacement.numpy()
    last = np.array(SHAPE)[:, None, None, None] - 1
    kept: np.ndarray = ((point > 0.01) & (point < last - 0.01)).all(0)
    return kept


@pytest.mark.parametrize("moving_grid", [FIXED, MOVING], ids=["same place", "another place"])
def test_simpleitk_moves_a_scan_to_the_same_place(tmp_path: Path, field: Field, moving_grid: Grid) -> None:
    moving = Volume(smooth(1, 1.0, *SHAPE), moving_grid)
    write_itk_field(tmp_path / "field.nii.gz", field, moving_grid)
    ours = warp(moving.data[None, None], field.displacement[None])[0, 0].numpy()
    theirs = by_sitk(tmp_path, moving, field, Volume(torch.zeros(SHAPE), FIXED), sitk.sitkLinear)
    looked_at = inside(field)
    assert looked_at.mean() > 0.4
    np.testing.assert_allclose(theirs[looked_at], ours[looked_at], atol=2e-4)
    unmoved = moving.data.numpy()[looked_at]
    assert np.abs(ours[looked_at] - unmoved).mean() > 0.05, "the field has to move something"


def test_the_moving_grid_is_the_fixed_one_unless_said(tmp_path: Path, field: Field) -> None:
    write_itk_field(tmp_path / "a.nii", field)
    write_itk_field(tmp_path / "b.nii", field, FIXED)
    write_itk_field(tmp_path / "c.nii", field, MOVING)
    first, second, third = ((tmp_path / f"{name}.nii").read_bytes() for name in "abc")
    assert first == second != third


def test_the_layout(tmp_path: Path, field: Field) -> None:
    write_itk_field(tmp_path / "field.nii.gz", field)
    image = nib.load(tmp_path / "field.nii.gz")
    header = image.header
    assert header["dim"].tolist()[:6] == [5, *SHAPE, 1, 3]
    assert int(header["intent_code"]) == 1007
    assert header.get_data_dtype() == np.float32
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.affine, FIXED.affine, atol=1e-5)
    for index in itertools.product((0, 5, 10), repeat=3):
        x, y, z = FIXED.affine[:3, :3] @ field.displacement[:, *index].double().numpy()
        np.testing.assert_allclose(image.get_fdata()[index][0], [-x, -y, z], atol=1e-5)


def test_a_point_goes_where_the_field_says(tmp_path: Path, field: Field) -> None:
    write_itk_field(tmp_path / "field.nii.gz", field, MOVING)
    vectors = sitk.ReadImage(str(tmp_path / "field.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(vectors)
    for index in ((0, 0, 0), (4, 7, 2), (16, 12, 10)):
        lps = np.array([-1, -1, 1])
        start = FIXED.affine[:3, :3] @ index + FIXED.affine[:3, 3]
        goal = MOVING.affine[:3, :3] @ (index + field.displacement[:, *index].double().numpy()) + MOVING.affine[:3, 3]
        np.testing.assert_allclose(np.array(transform.TransformPoint((start * lps).tolist())) * lps, goal, atol=1e-4)


def test_it_is_not_taken_for_a_field_in_voxels(tmp_path: Path, field: Field) -> None:
    write_itk_field(tmp_path / "field.nii.gz", field)
    with pytest.raises(DataError, match="millimetres, LPS"):
        read_field(tmp_path / "field.nii.gz")
