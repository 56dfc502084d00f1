"""Dice against a plain loop, MONAI and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from regbench.errors import BadValueError
from regbench.metrics import dsc

LabelMaps = Callable[..., np.ndarray]


def test_equal_to_a_plain_loop_to_the_last_bit(blobs: LabelMaps) -> None:
    fixed, moved = blobs(0), blobs(1)
    scores = dsc(fixed, moved, range(1, 5))
    for label in range(1, 5):
        a, b = fixed == label, moved == label
        assert scores[label] == 2 * (a & b).sum() / (a.sum() + b.sum())
    assert len(scores) == 4


def test_equal_to_monai(blobs: LabelMaps) -> None:
    maps = [torch.from_numpy(blobs(seed)).long() for seed in (2, 3)]
    one_hot = [torch.nn.functional.one_hot(m, 5).movedim(-1, 0)[None] for m in maps]
    official = compute_dice(one_hot[1], one_hot[0], include_background=False)[0]
    scores = dsc(maps[0].byte(), maps[1].byte(), [1, 2, 3, 4])
    np.testing.assert_allclose(list(scores.values()), official.numpy(), rtol=1e-6)


def test_identical_maps_score_one_and_apart_ones_zero(blobs: LabelMaps) -> None:
    fixed = blobs(4)
    assert dsc(fixed, fixed, [1, 2, 3, 4]) == {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}
    one, other = np.zeros((2, 5, 5, 5), np.uint8)
    one[0, 0, 0], other[4, 4, 4] = 7, 7
    assert dsc(one, other, [7]) == {7: 0.0}


def test_a_label_absent_from_either_map_has_no_row(blobs: LabelMaps) -> None:
    fixed, moved = blobs(5), blobs(6)
    moved[moved == 3] = 0
    assert list(dsc(fixed, moved, [4, 3, 1, 99])) == [4, 1]
    assert list(dsc(moved, fixed, [1, 2, 3, 4])) == [1, 2, 4]
    assert dsc(np.zeros_like(fixed), np.zeros_like(fixed), [1]) == {}


def test_a_label_that_the_warp_pushed_out_scores_zero(blobs: LabelMaps) -> None:
    fixed, moving = blobs(5), blobs(6)
    moved = np.where(moving == 3, 0, moving).astype(np.uint8)
    scores = dsc(fixed, moved, [1, 2, 3, 4, 5], moving=moving)
    assert scores[3] == 0
    assert list(scores) == [1, 2, 3, 4]
    assert {label: scores[label] for label in (1, 2, 4)} == dsc(fixed, moved, [1, 2, 3, 4])


def test_one_voxel_and_the_border() -> None:
    fixed, moved = np.zeros((2, 6, 5, 4), np.uint8)
    fixed[5, 4, 3] = moved[5, 4, 3] = 255
    fixed[0], moved[:2] = 1, 1
    assert dsc(fixed, moved, [1, 255]) == {1: 2 / 3, 255: 1.0}


def test_the_background_can_be_scored_too(blobs: LabelMaps) -> None:
    fixed, moved = blobs(7), blobs(8)
    a, b = fixed == 0, moved == 0
    assert dsc(fixed, moved, [0]) == {0: 2 * (a & b).sum() / (a.sum() + b.sum())}


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.float32])
def test_any_type_that_holds_whole_numbers(blobs: LabelMaps, dtype: torch.dtype) -> None:
    fixed, moved = (torch.from_numpy(blobs(seed)) for seed in (0, 1))
    assert dsc(fixed.to(dtype), moved.to(dtype), [1, 2]) == dsc(fixed, moved, [1, 2])


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0])
def test_values_that_are_no_labels_are_refused(value: float) -> None:
    good, bad = np.zeros((3, 3, 3), np.uint8), np.full((3, 3, 3), value)
    with pytest.raises(BadValueError, match="whole numbers from 0 to 255"):
        dsc(good, bad, [1])


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(BadValueError, match=r"\(3, 4, 5\).*\(3, 4, 6\)"):
        dsc(np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 6), np.uint8), [1])


def test_an_impossible_label_is_refused() -> None:
    empty = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(BadValueError, match="not 300"):
        dsc(empty, empty, [1, 300])
