"""Surface distances against the plain way on whole volumes, MONAI, and closed forms."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance

from regbench.errors import BadValueError
from regbench.metrics import assd, hd95
from regbench.metrics.surfaces import percentile

LabelMaps = Callable[..., np.ndarray]
Plain = Callable[..., float]

SPACINGS = [(1, 1, 1), (2, 2, 2), (1.5, 1.5, 3.15), (2.4, 2.0, 3.2), (1.37, 1.37, 1.37), (0.7, 0.7, 5.0)]


def _box(shape: Sequence[int], *ranges: slice, label: int = 1) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[ranges] = label
    return labels


@pytest.mark.parametrize("spacing", SPACINGS)
def test_hd95_equals_the_plain_way_to_the_last_bit(
    blobs: LabelMaps, plain_hd95: Plain, spacing: Sequence[float]
) -> None:
    for seed in range(4):
        fixed, moved = blobs(seed), blobs(seed + 50)
        found = hd95(fixed, moved, [1, 2, 3, 4], spacing)
        assert found == {label: plain_hd95(fixed == label, moved == label, spacing) for label in (1, 2, 3, 4)}


@pytest.mark.parametrize("spacing", SPACINGS)
def test_assd_equals_the_plain_way(
    blobs: LabelMaps, plain_distances: Callable[..., list[tuple[np.ndarray, np.ndarray]]], spacing: Sequence[float]
) -> None:
    fixed, moved = blobs(10), blobs(11)
    found = assd(fixed, moved, [1, 2, 3, 4], spacing)
    for label in (1, 2, 3, 4):
        directions = plain_distances(fixed == label, moved == label, spacing)
        expected = sum((d * a).sum() for d, a in directions) / sum(a.sum() for _, a in directions)
        assert found[label] == pytest.approx(expected, rel=1e-13)


def test_far_apart_and_small(plain_hd95: Plain) -> None:
    shape, spacing = (40, 12, 70), (1.5, 1.5, 3.15)
    fixed = _box(shape, slice(0, 2), slice(0, 1), slice(0, 3))
    moved = _box(shape, slice(37, 40), slice(9, 12), slice(66, 70))
    expected = plain_hd95(fixed > 0, moved > 0, spacing)
    assert hd95(fixed, moved, [1], spacing) == {1: expected}
    assert expected > 200


def test_a_cube_moved_by_three_voxels() -> None:
    fixed = _box((30, 30, 30), slice(5, 15), slice(5, 25), slice(5, 25))
    moved = np.roll(fixed, 3, axis=0)
    assert hd95(fixed, moved, [1], (1, 1, 1)) == {1: 3.0}
    assert hd95(fixed, moved, [1], (2.5, 1, 1)) == {1: 7.5}
    assert 0 < assd(fixed, moved, [1], (1, 1, 1))[1] < 3


def test_parallel_plates_are_as_far_as_they_are() -> None:
    fixed = _box((20, 140, 140), slice(4, 8))
    moved = _box((20, 140, 140), slice(6, 10))
    assert hd95(fixed, moved, [1], (1.25, 1, 1)) == {1: 2.5}
    assert assd(fixed, moved, [1], (1.25, 1, 1))[1] == pytest.approx(2.5, rel=0.1)  # the rims lie nearer


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
def test_concentric_balls_are_near_monais_distance() -> None:
    index = np.indices((56, 56, 56)) - 27.5
    radius = np.sqrt((index**2).sum(0))
    fixed, moved = ((radius < r).astype(np.uint8) for r in (20, 26))
    one_hot = [torch.from_numpy(m)[None, None].float() for m in (moved, fixed)]
    official = float(compute_average_surface_distance(*one_hot, include_background=True, symmetric=True)[0, 0])
    found = assd(fixed, moved, [1], (1, 1, 1))[1]
    # A curved surface is a layer of cells, between whose inner and outer ones distances are a little shorter.
    assert found == pytest.approx(official, rel=0.1)
    assert found == pytest.approx(6, rel=0.1)


def test_identical_maps_are_no_distance_apart(blobs: LabelMaps) -> None:
    fixed = blobs(20)
    for spacing in SPACINGS:
        assert hd95(fixed, fixed.copy(), [1, 2, 3, 4], spacing) == dict.fromkeys((1, 2, 3, 4), 0.0)
        assert assd(fixed, fixed.copy(), [1, 2, 3, 4], spacing) == dict.fromkeys((1, 2, 3, 4), 0.0)


def test_both_maps_play_the_same_part(blobs: LabelMaps) -> None:
    fixed, moved = blobs(21), blobs(22)
    assert hd95(fixed, moved, [1, 4], (1, 2, 3)) == hd95(moved, fixed, [1, 4], (1, 2, 3))
    assert assd(fixed, moved, [1, 4], (1, 2, 3)) == pytest.approx(assd(moved, fixed, [1, 4], (1, 2, 3)), rel=1e-14)


def test_labels_of_one_voxel(plain_hd95: Plain) -> None:
    fixed, moved = np.zeros((2, 9, 9, 9), np.uint8)
    fixed[2, 4, 4], moved[6, 4, 4] = 9, 9
    assert hd95(fixed, moved, [9], (1, 1, 1)) == {9: plain_hd95(fixed > 0, moved > 0, (1, 1, 1))} == {9: 4.0}


def test_a_label_that_fills_the_volume_ends_at_its_border(plain_hd95: Plain) -> None:
    fixed, moved = np.ones((2, 8, 9, 10), np.uint8)
    moved[5:] = 0
    assert hd95(fixed, moved, [1], (1, 1, 1)) == {1: plain_hd95(fixed > 0, moved > 0, (1, 1, 1))} == {1: 3.0}
    assert hd95(fixed, fixed, [1], (1, 1, 1)) == {1: 0.0}


def test_the_background_is_a_label_like_others(blobs: LabelMaps, plain_hd95: Plain) -> None:
    fixed, moved = blobs(23), blobs(24)
    assert hd95(fixed, moved, [0], (1, 1, 1)) == {0: plain_hd95(fixed == 0, moved == 0, (1, 1, 1))}


def test_absent_and_pushed_out_labels(blobs: LabelMaps) -> None:
    fixed, moving = blobs(25), blobs(26)
    moved = np.where(moving == 2, 0, moving).astype(np.uint8)
    fixed[fixed == 4] = 0
    for measure in (hd95, assd):
        assert list(measure(fixed, moved, [1, 2, 3, 4, 5], (1, 1, 1))) == [1, 3]
        scores = measure(fixed, moved, [1, 2, 3, 4, 5], (1, 1, 1), moving=moving)
        assert list(scores) == [1, 2, 3]
        assert math.isinf(scores[2])
        assert math.isfinite(scores[1] + scores[3])
        assert measure(np.zeros_like(fixed), moved, [1], (1, 1, 1)) == {}


def test_tensors_and_arrays_score_alike(blobs: LabelMaps) -> None:
    fixed, moved = blobs(27), blobs(28)
    tensors = torch.from_numpy(fixed), torch.from_numpy(moved).long()
    assert hd95(*tensors, [1, 2], np.array([1.0, 2.0, 3.0])) == hd95(fixed, moved, [1, 2], (1, 2, 3))


def test_a_percentile_between_two_distances_goes_the_references_way(
    plain_hd95: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[float] = []
    reference = percentile._reference_percentile

    def watched(*arguments: object) -> float:
        went.append(reference(*arguments))
        return went[-1]

    monkeypatch.setattr(percentile, "_reference_percentile", watched)
    # Forty plates of one area, of which two (5 %) lie apart: the sum of areas reaches 95 % at the last near one.
    fixed, moved = np.zeros((2, 12, 164, 3), np.uint8)
    for n in range(20):
        fixed[5, 8 * n + 2, 1] = moved[5 + (n == 7) * 3, 8 * n + 2, 1] = 1
    expected = plain_hd95(fixed > 0, moved > 0, (1, 1, 1))
    assert hd95(fixed, moved, [1], (1, 1, 1)) == {1: expected}
    assert went


def test_distances_that_are_equal_but_for_rounding(
    blobs: LabelMaps, plain_hd95: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, settled = percentile._settled, list[float | None]()

    def watched(*arguments: object) -> float | None:
        settled.append(settle(*arguments))
        return settled[-1]

    monkeypatch.setattr(percentile, "_settled", watched)
    for seed in range(0, 16, 2):
        fixed, moved = blobs(seed), blobs(seed + 1)
        found = hd95(fixed, moved, [1, 2, 3, 4], (1.2, 1.2, 1.2))
        assert found == {label: plain_hd95(fixed == label, moved == label, (1.2, 1.2, 1.2)) for label in (1, 2, 3, 4)}
    assert None in settled
    assert settled.count(None) < len(settled) / 4


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(BadValueError, match="one shape"):
        hd95(np.ones((3, 4, 5), np.uint8), np.ones((3, 4, 6), np.uint8), [1], (1, 1, 1))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, 1, math.inf)])
def test_an_impossible_spacing_is_refused(spacing: Sequence[float]) -> None:
    with pytest.raises(BadValueError, match="three positive numbers"):
        assd(np.ones((3, 4, 5), np.uint8), np.ones((3, 4, 5), np.uint8), [1], spacing)
