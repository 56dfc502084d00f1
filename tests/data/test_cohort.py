"""A cohort on the device: pairs and batches are views of it."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from types import ModuleType

import pytest
import torch

import regbench.data
from regbench.api import Grid, PairId, Protocol, Setting, Volume
from regbench.data import Cohort, Points
from regbench.errors import DataError, UnknownNameError

PAIR = PairId(fixed="0004", moving="0002")


@pytest.fixture
def masks(toy_cohort: Cohort) -> dict[str, Volume]:
    """Other than the truth: every label shifted by one voxel."""
    return {
        scan: Volume(toy_cohort.label_map(scan).data.roll(1, 0), toy_cohort.label_map(scan).grid)
        for scan in toy_cohort.ids
    }


def _shares(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def test_a_pair_is_a_view_and_shows_no_truth(toy_cohort: Cohort) -> None:
    pair = toy_cohort.pair(PAIR)
    assert torch.equal(pair.fixed.data, toy_cohort.images[3, 0])
    assert torch.equal(pair.moving.data, toy_cohort.images[0, 0])
    assert _shares(pair.fixed.data, toy_cohort.images)
    assert pair.grid is toy_cohort.grids[3]
    assert (pair.fixed_mask, pair.moving_mask, pair.labels) == (None, None, ())


def test_the_truth_has_labels_names_and_landmarks(toy_cohort: Cohort, toy_protocol: Protocol) -> None:
    truth = toy_cohort.truth(PAIR)
    assert truth.labels == toy_protocol.labels
    assert torch.equal(truth.fixed_labels.data, toy_cohort.labels[3, 0])
    assert torch.equal(truth.moving_labels.data, toy_cohort.labels[0, 0])
    assert torch.equal(truth.landmarks.fixed, toy_cohort.landmarks["0004"].index)
    assert torch.equal(truth.landmarks.moving, toy_cohort.landmarks["0002"].index)


def test_landmarks_correspond_by_name_and_lie_in_the_fixed_scan(toy_cohort: Cohort) -> None:
    fixed = Points(("a", "b", "c", "d"), torch.tensor([[1.0, 1, 1], [-0.1, 2, 2], [3, 3, 3], [23, 19, 27]]))
    moving = Points(("d", "x", "b", "a"), torch.tensor([[-9.0, 4, 4], [5, 5, 5], [6, 6, 6], [7, 7, 7]]))
    truth = replace(toy_cohort, landmarks={"0004": fixed, "0002": moving}).truth(PAIR)
    assert truth.landmarks.fixed.tolist() == [[1, 1, 1], [23, 19, 27]]
    assert truth.landmarks.moving.tolist() == [[7, 7, 7], [-9, 4, 4]]
    strangers = replace(moving, names=("e", "f", "g", "h"))
    assert replace(toy_cohort, landmarks={"0004": fixed, "0002": strangers}).truth(PAIR).landmarks is None
    assert replace(toy_cohort, landmarks={"0004": fixed}).truth(PAIR).landmarks is None


def test_a_batch_of_one_copies_nothing(toy_cohort: Cohort) -> None:
    batch = toy_cohort.batch([PAIR], seed=5)
    assert batch.fixed.shape == (1, 1, 24, 20, 28)
    assert _shares(batch.fixed, toy_cohort.images)
    assert torch.equal(batch.moving[0, 0], toy_cohort.images[0, 0])
    assert (batch.fixed_mask, batch.seed) == (None, 5)
    assert batch.setting == Setting((24, 20, 28), (3.0, 4.0, 2.5), ())


def test_a_batch_of_more_keeps_their_order(toy_cohort: Cohort, masks: dict[str, Volume]) -> None:
    pairs = [PAIR, PairId("0001", "0003"), PairId("0002", "0004")]
    cohort = toy_cohort.with_masks(masks)
    batch = cohort.batch(pairs, seed=0)
    for row, pair in enumerate(pairs):
        assert torch.equal(batch.fixed[row, 0], cohort.image(pair.fixed).data)
        assert torch.equal(batch.moving[row, 0], cohort.image(pair.moving).data)
        assert torch.equal(batch.fixed_mask[row, 0], masks[pair.fixed].data)
        assert torch.equal(batch.moving_mask[row, 0], masks[pair.moving].data)


def test_masks_join_without_touching_the_truth(toy_cohort: Cohort, masks: dict[str, Volume]) -> None:
    cohort = toy_cohort.with_masks(masks)
    pair = cohort.pair(PAIR)
    assert torch.equal(pair.fixed_mask.data, masks["0004"].data)
    assert torch.equal(pair.moving_mask.data, masks["0002"].data)
    assert pair.labels == cohort.setting.labels == (1, 2, 3)
    assert toy_cohort.masks is None
    assert cohort.images is toy_cohort.images
    assert torch.equal(cohort.truth(PAIR).fixed_labels.data, toy_cohort.labels[3, 0])
    assert toy_cohort.with_masks(masks, labels=(1, 2, 3, 9)).mask_labels == (1, 2, 3, 9)


def test_masks_that_do_not_fit_are_all_named(toy_cohort: Cohort, masks: dict[str, Volume]) -> None:
    grid = toy_cohort.grids[0]
    small = Grid((2, 2, 2), grid.affine)
    spoiled = masks | {
        "0002": Volume(torch.zeros(2, 2, 2, dtype=torch.uint8), small),
        "0003": Volume(torch.zeros(grid.shape), grid),
        "0004": Volume(torch.full(grid.shape, 7, dtype=torch.uint8), grid),
    }
    del spoiled["0001"]
    with pytest.raises(DataError) as caught:
        toy_cohort.with_masks(spoiled)
    said = dict(zip(("0002", "0003", "0001", "0004"), caught.value.faults, strict=True))
    assert "shape (2, 2, 2)" in said["0002"]
    assert "torch.float32" in said["0003"]
    assert "no label map for scan 0001" in said["0001"]
    assert "holds the labels [7]" in said["0004"]


def test_an_unknown_scan_is_named(toy_cohort: Cohort) -> None:
    with pytest.raises(UnknownNameError, match="no scan of the cohort called '0005'"):
        toy_cohort.pair(PairId("0005", "0001"))


def test_it_is_frozen(toy_cohort: Cohort) -> None:
    with pytest.raises(FrozenInstanceError):
        toy_cohort.ids = ()


def test_everything_moves_to_the_device(toy_cohort: Cohort, masks: dict[str, Volume]) -> None:
    cohort = toy_cohort.with_masks(masks).to("meta")
    assert cohort.device.type == "meta"
    for tensor in (cohort.images, cohort.labels, cohort.masks, *(points.index for points in cohort.landmarks.values())):
        assert tensor.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_batch_on_the_gpu_is_a_view(toy_cohort: Cohort) -> None:
    cohort = toy_cohort.to("cuda")
    batch = cohort.batch([PAIR], seed=0)
    assert _shares(batch.fixed, cohort.images)
    assert torch.equal(batch.fixed.cpu(), toy_cohort.images[3:4])
    assert torch.equal(cohort.truth(PAIR).landmarks.fixed.cpu(), toy_cohort.landmarks["0004"].index)


def test_every_public_name_is_what_it_says() -> None:
    """A module of the same name would hide a function once it is imported."""
    for name in regbench.data.__all__:
        assert not isinstance(getattr(regbench.data, name), ModuleType), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = regbench.data.nothing


def test_writing_a_record_needs_no_torch() -> None:
    names = "cache_folder, read_protocols, replacing_folder, write_text"
    code = f"import sys; from regbench.data import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
