"""Preprocessing, against closed forms, scipy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from regbench.api import Crop, Grid, Percentiles, Squeeze, Window
from regbench.data.cohorts.preprocess import only_labels, resample_labels, resample_scan, to_unit

SKEW = np.array([[-1.9, 0.3, 0.1, 7.0], [0.2, -0.1, 2.6, -20.0], [0.25, 1.4, 0.05, 3.5], [0.0, 0.0, 0.0, 1.0]])


def _scan(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_window_is_clipped_and_scaled() -> None:
    scan = np.array([[[-2000, -500, 250, 1000, 3000.0]]], np.float32)
    assert to_unit(scan, Window(low=-500, high=1000)).ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_percentiles_are_those_of_the_scan() -> None:
    scan = _scan((10, 11, 12))
    low, high = np.quantile(scan.astype(np.float64), (0.02, 0.9))
    unit = to_unit(scan, Percentiles(low=2, high=90))
    np.testing.assert_allclose(unit, np.clip((scan - low) / (high - low), 0, 1), atol=1e-6)
    assert (unit.min(), unit.max()) == (0, 1)
    assert to_unit(np.full((2, 2, 2), 7, np.float32), Percentiles()).max() == 0


def test_only_the_wanted_labels_stay() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    assert only_labels(labels, (1, 13, 2)).ravel().tolist() == [0, 1, 2, *[0] * 10, 13, 0, 0]


@pytest.mark.parametrize("affine", [np.diag([2.0, 2, 2, 1]), SKEW], ids=["straight", "oblique"])
def test_a_scan_on_its_own_grid_is_untouched(affine: np.ndarray) -> None:
    grid = Grid((7, 6, 5), affine)
    scan, labels = _scan(grid.shape), np.random.default_rng(0).integers(0, 9, grid.shape).astype(np.uint8)
    for rule in (Squeeze(shape=grid.shape), Crop(shape=grid.shape, spacing_mm=grid.spacing_mm)):
        assert np.array_equal(resample_scan(scan, grid, rule.target(grid)), scan)
        assert np.array_equal(resample_labels(labels, grid, rule.target(grid)), labels)


def test_a_crop_by_whole_voxels_copies_and_pads() -> None:
    grid = Grid((7, 6, 5), SKEW)
    scan, labels = _scan(grid.shape), np.random.default_rng(0).integers(1, 9, grid.shape).astype(np.uint8)
    target = Crop(shape=(3, 10, 5), spacing_mm=grid.spacing_mm).target(grid)
    pad = ((0, 0), (2, 2), (0, 0))
    np.testing.assert_allclose(resample_scan(scan, grid, target), np.pad(scan[2:5], pad), atol=1e-6)
    assert np.array_equal(resample_labels(labels, grid, target), np.pad(labels[2:5], pad))


def _coordinates(source: Grid, target: Grid) -> np.ndarray:
    """Every target voxel's place in the source's voxels, through the world; (3, a, b, c)."""
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), -1).reshape(-1, 3).astype(float)
    return source.to_index(target.to_world(index)).T.reshape(3, *target.shape)


@pytest.mark.parametrize("affine", [np.diag([2.0, 3, 4, 1]), SKEW], ids=["straight", "oblique"])
def test_a_finer_grid_is_linear_interpolation_with_the_edge_repeated_up_to_the_scan_s_end(affine: np.ndarray) -> None:
    source = Grid((7, 6, 5), affine)
    i, j, k = source.spacing_mm
    target = Crop(shape=(22, 13, 16), spacing_mm=(i / 2.3, j / 1.4, k / 1.9)).target(source)
    scan, places = _scan(source.shape), _coordinates(source, target)
    far = np.array(source.shape).reshape(3, 1, 1, 1) - 1
    expected = map_coordinates(scan.astype(np.float64), np.clip(places, 0, far), order=1)
    inside = ((places >= -0.5) & (places <= far + 0.5)).all(0)
    assert not inside.all()
    np.testing.assert_allclose(resample_scan(scan, source, target), np.where(inside, expected, 0), atol=1e-5)

    labels = np.random.default_rng(0).integers(1, 9, source.shape).astype(np.uint8)
    nearest = map_coordinates(labels, np.clip(places, 0, far), order=0)
    assert np.array_equal(resample_labels(labels, source, target), np.where(inside, nearest, 0))


@pytest.mark.parametrize("sizes", [(160, 64), (192, 160), (256, 80), (30, 29), (20, 45)])
def test_squeezing_is_torch_s_antialiased_interpolation(sizes: tuple[int, int]) -> None:
    """torch has it in two dimensions only: one axis at a time is the same."""
    many, few = sizes
    scan = _scan((many, 3, 2))
    source = Grid(scan.shape, np.eye(4))
    got = resample_scan(scan, source, Squeeze(shape=(few, 3, 2)).target(source))
    plane = torch.from_numpy(scan.reshape(1, 1, many, 6)).double()
    expected = torch.nn.functional.interpolate(plane, (few, 6), mode="bilinear", antialias=True, align_corners=False)
    np.testing.assert_allclose(got, expected.reshape(few, 3, 2), atol=1e-5)


def test_squeezing_an_alternating_pattern_does_not_alias() -> None:
    stripes = np.zeros((96, 4, 4), np.float32)
    stripes[::2] = 1
    source = Grid(stripes.shape, np.eye(4))
    squeezed = resample_scan(stripes, source, Squeeze(shape=(32, 4, 4)).target(source))
    assert np.abs(squeezed - 0.5).max() < 0.13
    assert stripes[1::3].std() == 0.5  # what picking every third voxel gives


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    wanted=st.tuples(*[st.integers(1, 12)] * 3),
    squeeze=st.booleans(),
)
def test_any_two_shapes_work_and_a_constant_stays_what_it_is(
    shape: tuple[int, int, int], wanted: tuple[int, int, int], squeeze: bool
) -> None:
    source = Grid(shape, SKEW)
    rule = Squeeze(shape=wanted) if squeeze else Crop(shape=wanted, spacing_mm=(1.0, 1.5, 2.0))
    target = rule.target(source)
    out = resample_scan(np.full(shape, 0.7, np.float32), source, target)
    labels = resample_labels(np.full(shape, 5, np.uint8), source, target)
    assert out.shape == labels.shape == wanted
    np.testing.assert_allclose(out[labels == 5], 0.7, atol=1e-6)
    assert (out[labels == 0] == 0).all()
    assert (labels == 5).all() or not squeeze


def test_thin_structures_keep_their_volume_where_a_majority_vote_loses_them() -> None:
    """Plates one voxel thick, as adrenal glands are, on a grid three times as coarse."""
    labels = np.zeros((90, 90, 90), np.uint8)
    index = np.indices(labels.shape).sum(0)
    labels[index % 13 == 0] = 1
    source = Grid(labels.shape, np.eye(4))
    target = Squeeze(shape=(30, 30, 30)).target(source)
    share = labels.mean()
    assert resample_labels(labels, source, target).mean() == pytest.approx(share, rel=0.05)
    assert (resample_scan(labels.astype(np.float32), source, target) > 0.5).mean() < 0.1 * share


def test_grids_of_other_directions_are_refused() -> None:
    source = Grid((4, 4, 4), np.eye(4))
    with pytest.raises(ValueError, match="different directions"):
        resample_scan(_scan((4, 4, 4)), source, Grid((4, 4, 4), SKEW))
