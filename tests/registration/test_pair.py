import gzip
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.api import Crop, Field, Grid, Pair, Squeeze, Volume, Window
from regbench.data import read_volume
from regbench.data.files.nifti import read_stored
from regbench.engine.evaluation.evaluate import Register
from regbench.errors import DataError, RunError
from regbench.registration import placing
from regbench.registration.files import label_type, read_own, write_like
from regbench.registration.grid import centring_shift_mm, network_grid, shared_share
from regbench.registration.pair import OwnScans, Preparation, Registration, present, register_own
from regbench.registration.placing import Pulled, field_onto, jacobian_map, pull, scan_onto, still
from regbench.spatial import jacobian_determinant, resample

UNIT = Window(low=0, high=1)
NOWHERE = np.zeros(3)


def oblique(shape: tuple[int, int, int], spacing: tuple[float, float, float], degrees: float, flips: str = "") -> Grid:
    """A grid about the world's origin, turned about an oblique axis, its storage axes turned over where named."""
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a / 2), -np.sin(a / 2)], [0, np.sin(a / 2), np.cos(a / 2)]])
    signs = np.diag([-1.0 if axis in flips else 1.0 for axis in "ijk"])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ signs @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def scene(grid: Grid, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Volume:
    """A few smooth blobs at places of the world."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1).reshape(-1, 3)
    world = grid.to_world(index.astype(float)) - np.array(shift_mm)
    value = np.zeros(len(world))
    for centre, height in (((-6, 3, 2), 1.0), ((8, -5, -3), 0.8), ((2, 9, -7), 0.6)):
        value += height * np.exp(-((world - centre) ** 2).sum(1) / (2 * 5.0**2))
    return Volume(torch.from_numpy(value.reshape(grid.shape)).float(), grid)


FIXED = oblique((24, 22, 20), (2.0, 2.2, 2.5), 20)
MOVING = oblique((30, 28, 26), (1.6, 1.7, 2.1), -15)
SHIFT = (3.0, -2.0, 1.5)


def knows(shift_mm: tuple[float, float, float]) -> Register:
    """A method that knows by how many millimetres the world has moved."""

    def register(pair: Pair) -> Field:
        u = np.linalg.solve(pair.grid.affine[:3, :3], np.array(shift_mm))
        return Field(torch.from_numpy(u).float().view(3, 1, 1, 1).expand(3, *pair.grid.shape).clone(), pair.grid)

    return register


def registered(scans: OwnScans, preparation: Preparation, register: Register) -> Registration:
    return register_own(scans, present(scans, preparation), register)


@pytest.mark.parametrize(
    "rule", [None, Squeeze(shape=(12, 13, 9)), Crop(shape=(16, 16, 16), spacing_mm=(3.0, 3.0, 4.0))]
)
def test_a_known_shift_between_different_grids_is_carried_through(rule: Squeeze | Crop | None) -> None:
    """Other spacing, other directions, both oblique, registered on a third grid: the blobs fall onto each other."""
    scans = OwnScans(scene(FIXED), scene(MOVING, SHIFT))
    found = registered(scans, Preparation(UNIT, rule), knows(SHIFT))
    inside = (slice(4, -4),) * 3
    error = (found.moved.data - scans.fixed.data)[inside].abs().max()
    assert error < 0.05  # what one linear interpolation costs here
    assert (found.before.data - scans.fixed.data)[inside].abs().max() > 0.2
    world = found.field.displacement.permute(1, 2, 3, 0).double().numpy() @ FIXED.affine[:3, :3].T
    np.testing.assert_allclose(world, np.broadcast_to(SHIFT, world.shape), atol=1e-4)
    assert found.folding_percent == 0
    np.testing.assert_allclose(found.determinant.data, 1, atol=1e-4)
    before, after = found.similarity
    assert after > before + 0.02


def test_the_method_is_shown_both_scans_at_one_place(toy: ModuleType) -> None:
    """Without a shift, what the method sees of both scans agrees although they were sampled differently."""
    scans = OwnScans(scene(FIXED), scene(MOVING))
    pair = present(scans, Preparation(UNIT, Squeeze(shape=(12, 11, 10)))).pair
    inside = (slice(2, -2),) * 3
    assert (pair.fixed.data - pair.moving.data)[inside].abs().max() < 0.05
    assert pair.fixed.grid is pair.moving.grid


def test_identity_is_pure_resampling_through_the_affines() -> None:
    labels = Volume((scene(MOVING).data * 3).to(torch.uint8), MOVING)
    scans = OwnScans(scene(FIXED), scene(MOVING), moving_labels=labels)
    found = registered(scans, Preparation(UNIT, Squeeze(shape=(8, 9, 10))), knows((0.0, 0.0, 0.0)))
    floor = scans.moving.data.min()
    expected = resample(scans.moving.data - floor, MOVING, FIXED) + floor
    torch.testing.assert_close(found.moved.data, expected, atol=1e-5, rtol=0)
    assert torch.equal(found.moved.data, found.before.data)
    assert found.moved_labels is not None
    assert found.moved_labels.data.dtype == torch.uint8
    assert torch.equal(found.moved_labels.data, resample(labels.data, MOVING, FIXED, "nearest"))


def test_what_the_moving_scan_has_not_seen_gets_its_lowest_value() -> None:
    air = -1000.0
    moving = Volume(torch.full((6, 6, 6), 40.0), Grid.centred((6, 6, 6), (2.0, 2.0, 2.0)))
    moving.data[0, 0, 0] = air
    scans = OwnScans(scene(Grid.centred((12, 10, 9), (2.0, 2.0, 2.0))), moving)
    found = registered(scans, Preparation(Window(low=-1000, high=100)), knows((0.0, 0.0, 0.0)))
    assert found.moved.data[0].eq(air).all()
    assert found.moved.data[6, 5, 4] == 40
    assert any("covers only" in note for note in found.presented.notes)


def test_scans_that_do_not_meet_are_brought_together() -> None:
    away = np.array([900.0, -400.0, 250.0])
    far = MOVING.affine.copy()
    far[:3, 3] += away
    scans = OwnScans(scene(FIXED), Volume(scene(MOVING, SHIFT).data, Grid(MOVING.shape, far)))
    found = registered(scans, Preparation(UNIT), knows(SHIFT))
    assert any("do not meet" in note and "1016 mm" in note for note in found.presented.notes)
    assert (found.moved.data - scans.fixed.data)[4:-4, 4:-4, 4:-4].abs().max() < 0.05
    world = found.field.displacement[:, 5, 6, 7].double().numpy() @ FIXED.affine[:3, :3].T
    np.testing.assert_allclose(world, away + SHIFT, atol=1e-2)  # the field leads to where the scan really lies


def test_scans_that_meet_anywhere_stay_where_they_are() -> None:
    grid = Grid.centred((10, 10, 10), (2.0, 2.0, 2.0))
    beside = grid.affine.copy()
    beside[0, 3] += 15
    assert not centring_shift_mm(grid, Grid(grid.shape, beside)).any()
    inside = Grid.centred((2, 2, 2), (0.1, 0.1, 0.1))  # smaller than the lattice that is looked at
    shifted = Grid(inside.shape, inside.affine + np.array([[0, 0, 0, 1.3]] * 3 + [[0, 0, 0, 0]]))
    assert not centring_shift_mm(grid, shifted).any()
    assert shared_share(grid, grid) == 1


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field(
        torch.randn(3, 9, 8, 7, generator=torch.Generator().manual_seed(0)), oblique((9, 8, 7), (5.0, 5.0, 6.0), 9)
    )
    shift = np.array([1.0, 2.0, 3.0])

    def everything() -> list[torch.Tensor]:
        whole = field_onto(field, FIXED, shift)
        (moved,) = pull(MOVING, whole, Pulled(scene(MOVING).data, "linear"))
        return [whole.displacement, moved.data, jacobian_map(whole).data]

    at_once = everything()
    monkeypatch.setattr(placing, "_SLAB_VOXELS", 3 * 22 * 20)
    for one, other in zip(at_once, everything(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_jacobian_map_has_a_value_at_every_voxel() -> None:
    u = torch.randn(3, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    grid = Grid.centred((9, 8, 7), (1.0, 2.0, 3.0))
    whole = jacobian_map(Field(u, grid)).data
    torch.testing.assert_close(whole[2:-2, 2:-2, 2:-2], jacobian_determinant(u))
    axes = [0.1 * n * torch.arange(size) for n, size in zip((1, 2, 3), (9, 8, 7), strict=True)]
    stretched = torch.stack(torch.meshgrid(axes, indexing="ij"))
    torch.testing.assert_close(jacobian_map(Field(stretched, grid)).data, torch.full((9, 8, 7), 1.1 * 1.2 * 1.3))
    plane = Field(torch.zeros(3, 6, 1, 5), Grid.centred((6, 1, 5), (1.0, 1.0, 1.0)))
    assert jacobian_map(plane).data.eq(1).all()


def test_a_finer_scan_is_not_aliased() -> None:
    """A checkerboard of voxels becomes grey on a coarse grid of other directions, not black and white."""
    fine = oblique((40, 40, 40), (0.5, 0.5, 0.5), 0)
    board = np.indices((40, 40, 40)).sum(0) % 2
    coarse = scan_onto(board.astype(np.float32), fine, oblique((6, 6, 6), (2.0, 2.0, 2.0), 30))
    assert np.abs(coarse - 0.5).max() < 0.05


def test_a_grid_without_a_protocol_is_bounded() -> None:
    assert network_grid(FIXED, None) is FIXED
    big = Grid.centred((512, 512, 120), (0.7, 0.7, 2.5))
    chosen = network_grid(big, None)
    assert 0.8 * 2**21 < np.prod(chosen.shape) <= 2**21
    assert max(chosen.spacing_mm) / min(chosen.spacing_mm) < 1.05  # coarsened only as far as they have to be
    assert shared_share(big, chosen) == shared_share(chosen, big) == 1
    slices = Grid.centred((256, 216, 10), (1.4, 1.4, 10.0))
    assert network_grid(slices, None, 100_000).shape[2] == 10


def test_faults_of_scans() -> None:
    wrong = Volume(torch.zeros(4, 4, 4, dtype=torch.uint8), Grid.centred((4, 4, 4), (1.0, 1.0, 1.0)))
    broken = Volume(scene(MOVING).data * torch.nan, MOVING)
    with pytest.raises(DataError) as caught:
        OwnScans(scene(FIXED), broken, fixed_mask=wrong, moving_labels=wrong)
    text = str(caught.value)
    assert len(caught.value.faults) == 3
    assert "The fixed mask does not lie on the grid of the fixed scan: its shape is 4×4×4, not 24×22×20" in text
    assert "The moving label map does not lie on the grid of the moving scan" in text
    assert "not finite" in text
    first, second = (
        Volume(torch.full(grid.shape, n, dtype=torch.uint8), grid) for n, grid in ((1, FIXED), (2, MOVING))
    )
    with pytest.raises(DataError, match=r"no label in common.* fixed one holds \[1\], the moving one \[2\]"):
        OwnScans(scene(FIXED), scene(MOVING), fixed_labels=first, moving_labels=second)
    empty = Volume(torch.zeros(FIXED.shape, dtype=torch.uint8), FIXED)
    with pytest.raises(DataError, match=r"The masks have no label in common.* fixed one holds none, the .* \[2\]"):
        OwnScans(scene(FIXED), scene(MOVING), fixed_mask=empty, moving_mask=second)
    mask = Volume(torch.full(FIXED.shape, 7, dtype=torch.uint8), FIXED)
    with pytest.raises(DataError, match=r"fixed mask holds the labels \[7\]"):
        present(OwnScans(scene(FIXED), scene(MOVING), fixed_mask=mask), Preparation(UNIT, labels=(1, 2)))


def test_labels_that_a_method_does_not_know_are_background_and_are_named() -> None:
    data = torch.zeros(FIXED.shape, dtype=torch.uint8)
    data[4:12, 4:12, 4:12], data[14:20] = 2, 7
    whole, known = Volume(data, FIXED), Volume(torch.where(data == 7, 0, data), FIXED)
    seen, expected = (
        present(OwnScans(scene(FIXED), scene(MOVING), fixed_mask=mask), Preparation(UNIT, labels=(1, 2)))
        for mask in (whole, known)
    )
    assert seen.pair.fixed_mask is not None
    assert expected.pair.fixed_mask is not None
    assert torch.equal(seen.pair.fixed_mask.data, expected.pair.fixed_mask.data)
    assert set(seen.notes) - set(expected.notes) == {
        "The fixed mask's labels [7] are none of the method's, and count as background."
    }


def test_a_field_that_cannot_be_used_is_refused() -> None:
    def wrong(pair: Pair) -> Field:
        return Field(torch.full((3, *pair.grid.shape), torch.nan), pair.grid)

    with pytest.raises(RunError, match="not finite"):
        registered(OwnScans(scene(FIXED), scene(MOVING)), Preparation(UNIT), wrong)


def test_masks_reach_the_method_on_its_grid() -> None:
    mask = Volume((scene(MOVING).data > 0.3).to(torch.uint8), MOVING)
    fixed = Volume((scene(FIXED).data > 0.3).to(torch.uint8), FIXED)
    scans = OwnScans(scene(FIXED), scene(MOVING), fixed_mask=fixed, moving_mask=mask)
    pair = present(scans, Preparation(UNIT, labels=(1,))).pair
    assert pair.fixed_mask is not None
    assert pair.moving_mask is not None
    assert torch.equal(pair.fixed_mask.data, fixed.data)
    agree = (pair.fixed_mask.data == pair.moving_mask.data).float().mean()
    assert agree > 0.97


def test_dice_is_told_before_and_after() -> None:
    def blob(volume: Volume) -> Volume:
        return Volume((volume.data > 0.4).to(torch.uint8) * 200, volume.grid)

    scans = OwnScans(scene(FIXED), scene(MOVING, SHIFT), fixed_labels=blob(scene(FIXED)),
                     moving_labels=blob(scene(MOVING, SHIFT)))  # fmt: skip
    found = registered(scans, Preparation(UNIT), knows(SHIFT))
    before, after = found.dice[200]
    assert before < 0.75 < 0.9 < after
    assert found.moved_labels is not None
    assert set(found.moved_labels.data.unique().tolist()) == {0, 200}


@pytest.mark.parametrize(("flips", "order"), [("", (0, 1, 2)), ("ij", (2, 0, 1)), ("k", (1, 0, 2))])
def test_files_of_any_order_are_read_and_written_as_they_were(
    tmp_path: Path, flips: str, order: tuple[int, int, int]
) -> None:
    """The fixed file's header comes back voxel for voxel, its sform and its qform with their codes."""
    canonical = scene(FIXED)
    array = np.transpose(canonical.data.numpy(), order)
    affine = canonical.grid.affine[:, [*order, 3]].copy()
    for axis, name in enumerate("ijk"):
        if name in flips:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    image = nib.Nifti1Image((1000 * array).astype(np.int16), affine)
    image.set_sform(affine, code=2)
    image.set_qform(affine, code=1)
    image.header.set_slope_inter(0.001, 0)
    image.header["cal_max"] = 7
    nib.save(image, tmp_path / "fixed.nii.gz")
    read = read_own(tmp_path / "fixed.nii.gz", tmp_path / "fixed.nii.gz").fixed
    torch.testing.assert_close(read.data, canonical.data, atol=1e-3, rtol=0)
    like = read_stored(tmp_path / "fixed.nii.gz")
    write_like(tmp_path / "moved.nii.gz", read, like, np.dtype(np.float32))
    back, was = nib.load(tmp_path / "moved.nii.gz"), nib.load(tmp_path / "fixed.nii.gz")
    assert back.shape == was.shape
    assert np.array_equal(back.affine, was.affine)
    for form in ("qform", "sform"):
        got, expected = (getattr(i.header, f"get_{form}")(coded=True) for i in (back, was))
        assert np.array_equal(got[0], expected[0])
        assert got[1] == expected[1]
    assert back.get_data_dtype() == np.float32
    assert float(back.header["cal_max"]) == 0
    np.testing.assert_allclose(back.get_fdata(), was.get_fdata(), atol=1e-6)
    assert read_volume(tmp_path / "moved.nii.gz").grid.matches(read.grid)


def test_all_that_is_wrong_with_files_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(DataError) as caught:
        read_own(tmp_path / "missing.nii.gz", tmp_path / "text.nii.gz", labels=(None, tmp_path))
    missing, text, folder = caught.value.faults
    assert "missing.nii.gz is missing" in missing
    assert "text.nii.gz holds 8 bytes, too few for a NIfTI file" in text
    assert "is a folder; expected a NIfTI file" in folder


def test_a_file_that_does_not_say_where_it_lies_is_told_of(tmp_path: Path) -> None:
    for name, affine in (("placed", np.eye(4)), ("placeless", None)):
        nib.save(nib.Nifti1Image(np.ones((9, 8, 7), np.float32), affine), tmp_path / f"{name}.nii.gz")
    scans = read_own(tmp_path / "placeless.nii.gz", tmp_path / "placed.nii.gz")
    note, same, *alike = scans.notes
    assert "same values" in same
    for name, said in zip(("fixed", "moving"), alike, strict=True):
        assert said.startswith(f"The {name} scan holds one value everywhere")
    assert note.startswith("placeless.nii.gz does not say where it lies")
    assert note in present(scans, Preparation(UNIT)).notes
    assert nib.aff2axcodes(nib.load(tmp_path / "placeless.nii.gz").affine) == ("L", "A", "S")  # as the note says


def test_a_file_that_lies_at_two_places_is_told_of(tmp_path: Path) -> None:
    for name, qform in (("rounded", (2.0, 2.0, 2.01, 1.0)), ("torn", (-2.0, 2.0, 2.0, 1.0))):
        image = nib.Nifti1Image(np.arange(120, dtype=np.float32).reshape(6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
        image.set_qform(np.diag(qform), "scanner", update_affine=False)
        nib.save(image, tmp_path / f"{name}.nii.gz")
    note, _ = read_own(tmp_path / "rounded.nii.gz", tmp_path / "torn.nii.gz").notes
    assert note.startswith("torn.nii.gz lies at two places, up to 20 mm apart")  # 5 steps of 2 mm, there and back
    content = bytearray(gzip.decompress((tmp_path / "torn.nii.gz").read_bytes()))
    content[256:260] = np.float32(2).tobytes()  # quatern_b: no rotation has such a quaternion
    (tmp_path / "wild.nii").write_bytes(content)
    assert not [said for said in read_own(tmp_path / "wild.nii", tmp_path / "rounded.nii.gz").notes if "places" in said]


def test_labels_keep_their_type(tmp_path: Path) -> None:
    for kind, kept in ((np.int16, np.int16), (np.uint8, np.uint8), (np.float32, np.uint8)):
        nib.save(nib.Nifti1Image(np.ones((3, 3, 3), kind), np.eye(4)), tmp_path / "labels.nii.gz")
        assert label_type(tmp_path / "labels.nii.gz") == np.dtype(kept)


def test_no_field_takes_no_memory() -> None:
    field = still(replace(FIXED, shape=(4000, 4000, 4000)), NOWHERE)
    assert field.displacement.untyped_storage().nbytes() == 12
