"""Volumes are read as nibabel reads them, in the order closest to RAS+."""

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.api import Grid, Volume
from regbench.data import read_volume, write_volume
from regbench.errors import DataError

OBLIQUE = np.array(
    [[-1.9, 0.3, 0.1, 7.0], [0.2, -0.1, 2.6, -20.0], [0.25, 1.4, 0.05, 3.5], [0.0, 0.0, 0.0, 1.0]]
)  # stored as LSA, sheared a little
SHAPE = (5, 4, 3)


def _random(dtype: type, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    random = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        return random.normal(0, 100, shape).astype(dtype)
    return random.integers(max(np.iinfo(dtype).min, -1000), min(np.iinfo(dtype).max, 1000), shape).astype(dtype)


def _expected(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.load(path))
    return np.squeeze(image.get_fdata()), image.affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz", ".img"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_values_and_affine_are_nibabels(tmp_path: Path, dtype: type, suffix: str) -> None:
    path = tmp_path / f"scan{suffix}"
    kind = nib.MGHImage if suffix == ".mgz" else nib.Nifti1Pair if suffix == ".img" else nib.Nifti1Image
    nib.save(kind(_random(dtype), OBLIQUE), path)
    volume = read_volume(path)
    values, affine = _expected(path)
    assert volume.data.dtype == torch.float32
    assert np.array_equal(volume.data.numpy(), values.astype(np.float32))
    np.testing.assert_allclose(volume.grid.affine, affine, atol=1e-6)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", ">f4", ">f8", "<u4"])
def test_byte_orders_and_nifti_2(tmp_path: Path, kind: type, dtype: str) -> None:
    path = tmp_path / "scan.nii.gz"
    header = kind.header_class(endianness=dtype[0])
    header.set_data_dtype(dtype)
    nib.save(kind(np.arange(60).reshape(SHAPE).astype(dtype), np.diag([2.0, 2, 2, 1]), header), path)
    assert np.array_equal(read_volume(path).data.numpy(), _expected(path)[0].astype(np.float32))


def test_slope_and_intercept_are_honoured(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_random(np.int16), np.eye(4))
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(_raw(image, 0.25, -1024)))
    values, _ = _expected(path)
    assert np.array_equal(values, _random(np.int16) * 0.25 - 1024)
    assert np.array_equal(read_volume(path).data.numpy(), values.astype(np.float32))


def _raw(image: nib.Nifti1Image, slope: float, intercept: float) -> bytes:
    """The file of an image whose voxels are stored as they are, under a slope and an intercept (bytes 112 and 116)."""
    content = bytearray(nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine).to_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    return bytes(content)


@pytest.mark.parametrize("code", ["RAS", "LPS", "LAS", "PIR", "SAL", "ILP"])
def test_any_stored_order_gives_the_same_volume(tmp_path: Path, code: str) -> None:
    values = _random(np.int16)
    canonical = nib.Nifti1Image(values, np.array([[2.0, 0.1, 0, -4], [0, 3.0, 0.2, 5], [0.1, 0, 4.0, 6], [0, 0, 0, 1]]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(code))
    path = tmp_path / "turned.nii.gz"
    nib.save(canonical.as_reoriented(turn), path)
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == code
    volume = read_volume(path)
    assert np.array_equal(volume.data.numpy(), values)
    np.testing.assert_allclose(volume.grid.affine, canonical.affine, atol=1e-5)


def test_every_voxel_stays_where_it_was_in_the_world(tmp_path: Path) -> None:
    path = tmp_path / "oblique.nii.gz"
    values = np.arange(60, dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Image(values, OBLIQUE), path)
    volume = read_volume(path)
    world = {
        int(values[index]): OBLIQUE[:3, :3] @ index + OBLIQUE[:3, 3]
        for index in itertools.product(*(range(n) for n in SHAPE))
    }
    for index in itertools.product(*(range(n) for n in volume.data.shape)):
        here = volume.grid.to_world(np.array([index], dtype=np.float64))[0]
        np.testing.assert_allclose(here, world[int(volume.data[index])], atol=1e-4)


def test_a_trailing_axis_of_one_is_dropped_and_a_fourth_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_random(np.int16, (5, 4, 3, 1)), np.eye(4)), tmp_path / "one.nii.gz")
    nib.save(nib.Nifti1Image(_random(np.int16, (5, 4, 3, 2)), np.eye(4)), tmp_path / "two.nii.gz")
    assert read_volume(tmp_path / "one.nii.gz").grid.shape == SHAPE
    with pytest.raises(
        DataError, match=r"two.nii.gz has shape \(5, 4, 3, 2\); expected three axes of voxels; take one"
    ):
        read_volume(tmp_path / "two.nii.gz")


def test_labels_keep_their_numbers_whatever_type_they_are_stored_in(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, SHAPE)
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        path = tmp_path / f"{np.dtype(dtype).name}.nii.gz"
        nib.save(nib.Nifti1Image(numbers.astype(dtype), np.eye(4)), path)
        volume = read_volume(path, "labels")
        assert volume.data.dtype == torch.uint8
        assert np.array_equal(volume.data.numpy(), numbers)


def test_labels_survive_the_rounding_of_a_header_s_slope(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii"
    path.write_bytes(_raw(nib.Nifti1Image(np.full(SHAPE, 30, np.int16), np.eye(4)), 0.1, 0.0))
    assert _expected(path)[0].max() != 3
    assert (read_volume(path, "labels").data == 3).all()


@pytest.mark.parametrize(("value", "said"), [(2.5, "2.5"), (np.nan, "nan"), (-1, "-1"), (300, "300"), (np.inf, "inf")])
def test_what_is_no_label_number_is_refused(tmp_path: Path, value: float, said: str) -> None:
    numbers = np.zeros(SHAPE, np.float32)
    numbers[1, 2, 1] = value
    nib.save(nib.Nifti1Image(numbers, np.eye(4)), tmp_path / "labels.nii.gz")
    with pytest.raises(DataError, match=f"labels.nii.gz holds 1 values that are no label numbers, such as {said}"):
        read_volume(tmp_path / "labels.nii.gz", "labels")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32])
def test_what_is_written_is_read_back(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    affine = np.array([[2.0, 0.1, 0, -4], [-0.1, 3.0, 0.2, 5], [0.1, 0, 4.0, 6], [0, 0, 0, 1]])
    volume = Volume(torch.arange(60).reshape(SHAPE).to(dtype), Grid(SHAPE, affine))
    path = tmp_path / f"volume{suffix}"
    write_volume(path, volume)
    image = nib.load(path)
    assert image.get_data_dtype() == volume.data.numpy().dtype
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(np.asanyarray(image.dataobj), volume.data.numpy())
    np.testing.assert_allclose(read_volume(path).grid.affine, affine, atol=1e-6)
    first = path.read_bytes()
    write_volume(path, volume)
    assert path.read_bytes() == first


@pytest.mark.parametrize("keep", [0, 1, 100, 300, -9, -1])
def test_a_truncated_file_is_named(tmp_path: Path, keep: int) -> None:
    for suffix in (".nii.gz", ".nii"):
        path = tmp_path / f"cut{suffix}"
        write_volume(path, Volume(torch.rand(SHAPE), Grid(SHAPE, np.eye(4))))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(DataError, match=f"cut{suffix}"):
            read_volume(path)


def test_a_damaged_stream_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.nii.gz"
    write_volume(path, Volume(torch.rand(SHAPE), Grid(SHAPE, np.eye(4))))
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.nii.gz is damaged|damaged.nii.gz is truncated"):
        read_volume(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    for name in ("text.nii", "text.nii.gz", "text.txt"):
        (tmp_path / name).write_text("not an image, though it is longer than a header\n" * 100)
        with pytest.raises(DataError, match=f"{name} is no readable image"):
            read_volume(tmp_path / name)
    for name in ("none.nii.gz", "none.mgz"):
        with pytest.raises(DataError, match=f"{name} is missing; check its name"):
            read_volume(tmp_path / name)
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(DataError, match=r"empty.nii.gz holds 0 bytes, too few for a NIfTI file"):
        read_volume(tmp_path / "empty.nii.gz")


def test_an_axis_without_voxels_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_random(np.int16)[:0], np.eye(4)), tmp_path / "none.nii")
    with pytest.raises(DataError, match=r"none.nii has shape \(0, 4, 3\); expected three axes of voxels\."):
        read_volume(tmp_path / "none.nii")


def test_a_spacing_of_zero_is_refused_unless_an_affine_stands_in_for_it(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_random(np.int16), np.diag([2.0, 2, 3, 1]))
    image.header["pixdim"][3] = 0
    (tmp_path / "affine.nii").write_bytes(image.to_bytes())
    assert read_volume(tmp_path / "affine.nii").grid.spacing_mm == (2, 2, 3)
    content = bytearray(image.to_bytes())
    content[252:256] = bytes(4)  # qform_code, sform_code
    content[88:92] = bytes(4)  # pixdim[3]
    (tmp_path / "none.nii").write_bytes(content)
    with pytest.raises(DataError, match=r"none.nii does not say how large its voxels are: a spacing is 0"):
        read_volume(tmp_path / "none.nii")


def test_a_header_is_not_read_as_voxels(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(_random(np.int16), np.eye(4)).to_bytes())
    content[108:112] = bytes(4)  # vox_offset
    (tmp_path / "offset.nii").write_bytes(content)
    with pytest.raises(DataError, match=r"offset.nii is damaged: its voxels would begin at byte 0"):
        read_volume(tmp_path / "offset.nii")


def test_what_nibabel_would_mend_is_not_told_on_the_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(nib.Nifti1Image(_random(np.int16), np.eye(4)).to_bytes())
    content[70:72] = np.array(999, "<i2").tobytes()  # the type of the voxels
    (tmp_path / "odd.nii").write_bytes(content)
    with pytest.raises(DataError, match=r"odd.nii is no readable image: data code 999"):
        read_volume(tmp_path / "odd.nii")
    assert not caplog.records
    assert not any(capfd.readouterr())


def test_an_affine_that_cannot_be_inverted_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_random(np.int16), None)
    content = bytearray(image.to_bytes())
    content[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    content[280:328] = np.zeros(12, "<f4").tobytes()
    (tmp_path / "flat.nii").write_bytes(content)
    with pytest.raises(DataError, match=r"flat.nii has an affine that cannot be inverted"):
        read_volume(tmp_path / "flat.nii")


def test_complex_values_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.complex64), np.eye(4)), tmp_path / "complex.nii")
    for kind in ("scan", "labels"):
        with pytest.raises(DataError, match="complex64"):
            read_volume(tmp_path / "complex.nii", kind)
