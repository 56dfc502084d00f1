"""Folders of fields as Learn2Reg takes them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from regbench.api import Field, PairId, Task
from regbench.data import Cohort, load_cohort, write_field
from regbench.data.learn2reg import FieldFolder, submission_name, write_submission_field
from regbench.errors import DataError

PAIRS = [PairId("0001", "0004"), PairId("0004", "0001")]


def turned_to(folder: Path, code: str) -> None:
    """Every image of a folder stored in another order, each voxel where it was."""
    for path in folder.rglob("*.nii.gz"):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(code))
        stored = image.as_reoriented(turn)
        nib.save(nib.Nifti1Image(np.asarray(stored.dataobj).copy(), stored.affine), path)


@pytest.fixture(scope="module", params=["RAS", "PIL"])
def cohort(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, toy: ModuleType) -> Cohort:
    """The toy cohort on the grid of its files, which are stored in an order of their own."""
    task: Task = toy.ToyTask()
    folder = tmp_path_factory.mktemp(request.param)
    task.phantom(folder, cases=4, seed=0, shape=toy.SHAPE)
    turned_to(folder, request.param)
    return load_cohort(task, folder, toy.protocol(), cache=tmp_path_factory.mktemp("cache"))


def random_field(cohort: Cohort, pair: PairId, seed: int = 0) -> Field:
    grid = cohort.image(pair.fixed).grid
    return Field(torch.randn((3, *grid.shape), generator=torch.Generator().manual_seed(seed)), grid)


def as_filed(cohort: Cohort, folder: Path, pair: PairId, field: Field) -> np.ndarray:
    """(i, j, k, 3) in the storage order of the fixed scan's file, by way of what is written and tested elsewhere."""
    write_field(folder / "turned.nii.gz", field, like=cohort.sources[pair.fixed])
    return np.asarray(nib.load(folder / "turned.nii.gz").dataobj)


def test_what_is_written_is_read_back(cohort: Cohort, tmp_path: Path) -> None:
    fields = {pair: random_field(cohort, pair, seed) for seed, pair in enumerate(PAIRS)}
    for pair, field in fields.items():
        assert not write_submission_field(tmp_path, pair, field, cohort)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disp_0001_0004.nii.gz", "disp_0004_0001.nii.gz"]
    read = FieldFolder(tmp_path, cohort)
    for pair, field in fields.items():
        again = read.field(pair)
        assert torch.equal(again.displacement, field.displacement)
        assert again.grid.matches(field.grid)
    first, second = read.digests(PAIRS)
    assert first != second


def test_the_order_of_the_file_counts_and_not_the_field_s_header(cohort: Cohort, tmp_path: Path) -> None:
    pair = PAIRS[0]
    field = random_field(cohort, pair)
    array = as_filed(cohort, tmp_path, pair, field)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / submission_name(pair))
    assert torch.equal(FieldFolder(tmp_path, cohort).field(pair).displacement, field.displacement)


@pytest.mark.parametrize("name", ["disp_0001_0004.npz", "disp_0001_0000_0004_0000.npz"])
@pytest.mark.parametrize("components_first", [True, False])
def test_npz_of_full_resolution(cohort: Cohort, tmp_path: Path, name: str, components_first: bool) -> None:
    pair = PAIRS[0]
    field = random_field(cohort, pair)
    array = as_filed(cohort, tmp_path, pair, field)
    np.savez_compressed(tmp_path / name, np.moveaxis(array, -1, 0) if components_first else array)
    read = FieldFolder(tmp_path, cohort)
    assert torch.equal(read.field(pair).displacement, field.displacement)
    nii = tmp_path / "as_nii"
    write_submission_field(nii, pair, field, cohort)
    assert FieldFolder(nii, cohort).digests([pair]) == read.digests([pair])


def test_npz_of_half_resolution_is_doubled_as_the_challenge_does(cohort: Cohort, tmp_path: Path) -> None:
    pair = PAIRS[0]
    shape = nib.load(cohort.sources[pair.fixed]).shape
    half = np.random.default_rng(0).normal(size=(3, *(n // 2 for n in shape))).astype(np.float16)
    np.savez_compressed(tmp_path / "disp_0001_0004.npz", half)
    theirs = np.array([zoom(half[axis].astype(np.float32), 2, order=2) for axis in range(3)])
    ours = FieldFolder(tmp_path, cohort).field(pair)
    np.testing.assert_array_equal(as_filed(cohort, tmp_path, pair, ours), np.moveaxis(theirs, 0, -1))


def test_fields_on_the_grid_that_is_scored_on(cohort: Cohort, toy: ModuleType, tmp_path: Path) -> None:
    small = replace(cohort, **on_shape(cohort, (12, 10, 14)))
    pair = PAIRS[0]
    field = random_field(small, pair)
    write_field(tmp_path / submission_name(pair), field)
    assert torch.equal(FieldFolder(tmp_path, small).field(pair).displacement, field.displacement)


def test_another_grid_is_resampled_with_its_values(cohort: Cohort, tmp_path: Path) -> None:
    """A linear field is one on any grid: what the resampling gives is known but for the border."""
    small = replace(cohort, **on_shape(cohort, (12, 10, 14)))
    pair = PAIRS[0]
    grid = cohort.image(pair.fixed).grid
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid.shape), indexing="ij"))
    middle = torch.tensor(grid.shape)[:, None, None, None] / 2
    field = Field(0.1 * (index - middle + 0.5) + 1, grid)
    write_submission_field(tmp_path, pair, field, cohort)
    found = FieldFolder(tmp_path, small).field(pair)
    coarse = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (12, 10, 14)), indexing="ij"))
    expected = 0.1 * (coarse - torch.tensor([12, 10, 14])[:, None, None, None] / 2 + 0.5) + 0.5
    torch.testing.assert_close(found.displacement, expected, atol=1e-4, rtol=0)
    assert write_submission_field(tmp_path / "back", pair, found, small), "and says that it was resampled"
    back = FieldFolder(tmp_path / "back", cohort).field(pair).displacement
    torch.testing.assert_close(back[:, 2:-2, 2:-2, 2:-2], field.displacement[:, 2:-2, 2:-2, 2:-2], atol=1e-4, rtol=0)


def on_shape(cohort: Cohort, shape: tuple[int, int, int]) -> dict[str, object]:
    protocol = cohort.protocol.at(shape)
    grids = tuple(protocol.grid.target(grid) for grid in cohort.grids)
    return {"protocol": protocol, "grids": grids, "images": torch.zeros(len(grids), 1, *shape), "labels": None}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda p, a: p.unlink(), "lacks the fields of 1 of 2 pairs: disp_0001_0004.nii.gz", id="missing"),
        pytest.param(lambda p, a: np.savez(p.with_name("disp_0001_0004.npz"), a), "there twice", id="twice"),
        pytest.param(lambda p, a: save(p, a[1:]), "expected", id="shape"),
        pytest.param(lambda p, a: save(p, a[..., :2]), r"expected numbers of shape \(i, j, k, 3\)", id="two"),
        pytest.param(lambda p, a: save(p, np.where(a > 0, np.nan, a)), "is not finite in", id="nan"),
        pytest.param(lambda p, a: save(p, a * np.float64(1e300)), "is not finite in", id="beyond float32"),
        pytest.param(lambda p, a: p.write_bytes(p.read_bytes()[:500]), "disp_0001_0004", id="cut short"),
        pytest.param(lambda p, a: (p.unlink(), p.with_name("disp_0001_0004.npz").write_bytes(b"zip?")),
                     "no readable .npz", id="no zip"),
        pytest.param(lambda p, a: (p.unlink(), damaged(p.with_name("disp_0001_0004.npz"), a)),
                     "no readable .npz of numbers", id="damaged zip"),
        pytest.param(lambda p, a: (p.unlink(), save_as_npy(p.with_name("disp_0001_0004.npz"), a)),
                     "no readable .npz of numbers", id="npy by the name of npz"),
        pytest.param(lambda p, a: (p.unlink(), np.savez(p.with_name("disp_0001_0004.npz"))),
                     "holds 0 arrays", id="none"),
        pytest.param(lambda p, a: save(p, a[..., None, :]), "as ITK writes it, in millimetres", id="ITK"),
        pytest.param(lambda p, a: (p.unlink(), np.savez(p.with_name("disp_0001_0004.npz"), a=a, b=a)),
                     "holds 2 arrays", id="two arrays"),
        pytest.param(lambda p, a: (p.unlink(), np.savez(p.with_name("disp_0001_0004.npz"), np.array([{}]))),
                     "no readable .npz of numbers", id="pickle"),
    ],
)  # fmt: skip
def test_every_fault_is_told_in_one_go(cohort: Cohort, tmp_path: Path, spoil: Callable, said: str) -> None:
    for pair in PAIRS:
        write_submission_field(tmp_path, pair, random_field(cohort, pair), cohort)
    path = tmp_path / submission_name(PAIRS[0])
    spoil(path, np.asarray(nib.load(path).dataobj).copy())
    second = tmp_path / submission_name(PAIRS[1])
    save(second, np.full_like(np.asarray(nib.load(second).dataobj), np.inf))
    with pytest.raises(DataError, match=said) as caught:
        FieldFolder(tmp_path, cohort).digests(PAIRS)
    assert len(caught.value.faults) == 2
    assert "disp_0004_0001.nii.gz is not finite in 40320 of 40320" in caught.value.faults[1]


def save_as_npy(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def damaged(path: Path, array: np.ndarray) -> None:
    np.savez_compressed(path, array)
    content = bytearray(path.read_bytes())
    content[200:300] = bytes(100)
    path.write_bytes(content)


def save(path: Path, array: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def test_the_opposite_direction_is_recognised(cohort: Cohort, tmp_path: Path) -> None:
    write_submission_field(tmp_path, PAIRS[1], random_field(cohort, PAIRS[1]), cohort)
    with pytest.raises(DataError, match="the first name is the fixed scan's"):
        FieldFolder(tmp_path, cohort).digests(PAIRS)
    with pytest.raises(DataError, match="is no folder"):
        FieldFolder(tmp_path / "nowhere", cohort).digests(PAIRS)
    with pytest.raises(DataError, match="is missing"):
        FieldFolder(tmp_path, cohort).field(PAIRS[0])


def test_scans_of_different_grids_have_no_common_voxels(cohort: Cohort, tmp_path: Path) -> None:
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 10), np.float32), np.eye(4)), other)
    odd = replace(cohort, sources={**cohort.sources, "0004": other})
    with pytest.raises(DataError, match="needs scans of one shape and spacing"):
        write_submission_field(tmp_path, PAIRS[0], random_field(cohort, PAIRS[0]), odd)
    array = as_filed(cohort, tmp_path, PAIRS[0], random_field(cohort, PAIRS[0]))
    np.savez(tmp_path / "disp_0001_0004.npz", array)
    with pytest.raises(DataError, match=r"other.nii.gz 8×9×10 of 1×1×1 mm"):
        FieldFolder(tmp_path, odd).field(PAIRS[0])
