"""Reading, and what the host does in a training step: the plain way beside ours, equality first."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from benchmarks.ratio import ratio
from regbench.api import Crop, Grid, PairId, Protocol, Volume, Window
from regbench.data import Cohort, read_volume, write_volume

SHAPE = (160, 160, 160)
ORGANS = 12


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of 160³ that compresses about as a CT does: smooth structures under noise, int16."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.normal(0, 300, (1, 1, 10, 10, 10)))
    smooth = torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear", align_corners=True)[0, 0].numpy()
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    voxels = np.clip(smooth + random.normal(0, 12, SHAPE), -1024, 2000).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2, 2, 1])), path)
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label map of 160³ with compact organs."""
    path = tmp_path_factory.mktemp("labels") / "labels.nii.gz"
    nib.save(nib.Nifti1Image(_organs(), np.diag([2.0, 2, 2, 1])), path)
    return path


def _organs() -> np.ndarray:
    index = np.indices(SHAPE) - 80
    ripple = 5 * np.sin(index[0] / 5.0) * np.cos(index[1] / 7.0 + index[2] / 9.0)
    shells = ((np.sqrt((index**2).sum(0)) + ripple) / 6).astype(np.uint8)
    return np.where(shells <= ORGANS, shells, 0).astype(np.uint8)


def test_reading_a_scan(scan: Path) -> None:
    def plain() -> np.ndarray:
        return np.ascontiguousarray(nib.as_closest_canonical(nib.load(scan)).get_fdata(), dtype=np.float32)

    assert np.array_equal(read_volume(scan).data.numpy(), plain())
    result = ratio(plain, lambda: read_volume(scan), repeats=5)
    print(f"\nread a scan of 160³: {result}")  # noqa: T201
    assert result.cpu > 2


def test_reading_a_label_map(labels: Path) -> None:
    def plain() -> np.ndarray:
        return np.ascontiguousarray(nib.as_closest_canonical(nib.load(labels)).get_fdata(), dtype=np.uint8)

    assert np.array_equal(read_volume(labels, "labels").data.numpy(), plain())
    result = ratio(plain, lambda: read_volume(labels, "labels"), repeats=5)
    print(f"\nread a label map of 160³: {result}")  # noqa: T201
    assert result.cpu > 3


def test_host_work_of_a_training_step(tmp_path: Path) -> None:
    """The plain way opens float64 arrays, makes one-hot masks and erodes them, in each step."""
    random = np.random.default_rng(0)
    images = random.random((2, *SHAPE)).astype(np.float32)
    organs = np.stack([_organs(), np.roll(_organs(), 3, 0)])
    grid = Grid.centred(SHAPE, (2.0, 2.0, 2.0))
    for position in range(2):
        write_volume(tmp_path / f"{position}.nii", Volume(torch.from_numpy(images[position]), grid))
    cohort = _cohort(torch.from_numpy(images)[:, None], torch.from_numpy(organs)[:, None], grid)

    def plain() -> list[torch.Tensor]:
        step = [torch.from_numpy(nib.load(tmp_path / f"{n}.nii").get_fdata())[None, None].float() for n in range(2)]
        for position in range(2):
            one_hot = np.stack([organs[position] == organ for organ in range(1, ORGANS + 1)])
            step.append(torch.from_numpy(one_hot.astype(np.float64)))
            step.append(torch.from_numpy(binary_erosion(organs[position] > 0)))
        return step

    def fast() -> object:
        return cohort.batch([PairId("a", "b")], seed=0)

    batch = fast()
    assert torch.equal(plain()[0], batch.fixed)
    assert torch.equal(plain()[1], batch.moving)
    result = ratio(plain, lambda: [fast() for _ in range(1000)], repeats=3)
    print(f"\nhost work of 1 step, plain, and of 1000, from the cohort: {result}")  # noqa: T201
    assert result.fast_seconds / 1000 < 1e-3
    assert result.cpu > 1  # a thousand steps of ours in less than one of the plain way's


def _cohort(images: torch.Tensor, masks: torch.Tensor, grid: Grid) -> Cohort:
    protocol = Protocol(
        task="bench",
        name="bench",
        revision=1,
        title="",
        train=("a", "b"),
        test=("c",),
        train_pairs=(PairId("a", "b"),),
        validation_pairs=(),
        test_pairs=(),
        labels={organ: str(organ) for organ in range(1, ORGANS + 1)},
        grid=Crop(shape=SHAPE, spacing_mm=(2.0, 2.0, 2.0)),
        quick_shape=SHAPE,
        intensity=Window(low=0, high=1),
    )
    return Cohort(
        protocol=protocol,
        ids=("a", "b"),
        images=images,
        labels=None,
        grids=(grid, grid),
        masks=masks,
        mask_labels=tuple(protocol.labels),
    )
