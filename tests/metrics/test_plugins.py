"""The registered metrics on a case whose numbers are known."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from regbench.api import Case, Field, Grid, Landmarks, Metric, Truth, Volume
from regbench.metrics import dsc, folding_percent, hd95, non_diffeomorphic_volume_percent, sdlogj
from regbench.registry import Registry
from regbench.spatial import jacobian_determinant, warp_labels

LabelMaps = Callable[..., np.ndarray]

SHAPE = (20, 17, 23)
GRID = Grid.centred(SHAPE, (1.5, 2.0, 3.0))
MOVING_GRID = Grid.centred(SHAPE, (1.0, 2.0, 5.0))
NAMES = {
    "dsc": ("%", True),
    "hd95": ("mm", False),
    "hd95-l2r": ("voxel", False),
    "assd": ("mm", False),
    "sdlogj": ("", False),
    "sdlogj-l2r": ("", False),
    "folding": ("%", False),
    "ndv": ("%", False),
    "tre": ("mm", False),
    "inverse-consistency": ("mm", False),
}


def _metric(name: str) -> Metric:
    plugin: Metric = Registry().load("metric", name)()
    return plugin


def _case(fixed: np.ndarray, moving: np.ndarray, u: torch.Tensor, **more: object) -> Case:
    labels = {1: "one", 2: "two", 3: "three", 4: "four", 5: "nowhere"}
    fixed_labels = Volume(torch.from_numpy(fixed), GRID)
    moving_labels = Volume(torch.from_numpy(moving), MOVING_GRID)
    return Case(
        field=Field(u, GRID),
        truth=Truth(labels, fixed_labels, moving_labels),
        moved_labels=Volume(warp_labels(moving_labels.data, u), GRID),
        determinant=jacobian_determinant(u),
        **more,
    )


@pytest.fixture(scope="module")
def case(blobs: LabelMaps) -> Case:
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    return _case(blobs(30), blobs(31), 0.4 * noise)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_registered_with_its_unit_direction_and_card(name: str) -> None:
    metric = _metric(name)
    assert (metric.unit, metric.higher_is_better) == NAMES[name]
    assert metric.card.title
    assert metric.card.summary.endswith(".")
    assert dataclasses.is_dataclass(metric)
    assert hash(metric) == hash(_metric(name))


def test_labels_are_scored_in_percent_millimetres_and_voxels(case: Case) -> None:
    fixed, moved = case.truth.fixed_labels.data, case.moved_labels.data
    assert _metric("dsc").measure(case) == {k: 100 * v for k, v in dsc(fixed, moved, [1, 2, 3, 4]).items()}
    assert _metric("hd95").measure(case) == hd95(fixed, moved, [1, 2, 3, 4], (1.5, 2.0, 3.0))
    assert _metric("hd95-l2r").measure(case) == hd95(fixed, moved, [1, 2, 3, 4], (1, 1, 1))
    assert list(_metric("assd").measure(case)) == [1, 2, 3, 4]


def test_fields_are_scored_as_by_the_functions(case: Case) -> None:
    u = case.field.displacement
    assert _metric("sdlogj").measure(case) == {None: sdlogj(u)}
    assert _metric("sdlogj-l2r").measure(case) == {None: sdlogj(u, "l2r")}
    assert _metric("folding").measure(case) == {None: folding_percent(u)}
    assert folding_percent(u) == pytest.approx(100 * float((case.determinant <= 0).double().mean()), rel=1e-12)
    assert _metric("ndv").measure(case) == {None: non_diffeomorphic_volume_percent(u)}


def test_a_perfect_registration(blobs: LabelMaps) -> None:
    labels = blobs(32)
    perfect = _case(labels, labels, torch.zeros(3, *SHAPE))
    everywhere = dict.fromkeys((1, 2, 3, 4))
    assert _metric("dsc").measure(perfect) == dict.fromkeys(everywhere, 100.0)
    for name in ("hd95", "hd95-l2r", "assd"):
        assert _metric(name).measure(perfect) == dict.fromkeys(everywhere, 0.0)
    for name in ("sdlogj", "sdlogj-l2r", "folding", "ndv"):
        assert _metric(name).measure(perfect) == {None: 0.0}


def test_a_field_that_pushes_everything_out_pays_for_it(blobs: LabelMaps) -> None:
    fixed = blobs(33)
    lost = _case(fixed, blobs(34), torch.full((3, *SHAPE), 100.0))
    diagonal = math.hypot(19 * 1.5, 16 * 2.0, 22 * 3.0)
    assert _metric("dsc").measure(lost) == dict.fromkeys((1, 2, 3, 4), 0.0)
    assert _metric("hd95").measure(lost) == dict.fromkeys((1, 2, 3, 4), diagonal)
    assert _metric("assd").measure(lost) == dict.fromkeys((1, 2, 3, 4), diagonal)
    assert _metric("hd95-l2r").measure(lost) == dict.fromkeys((1, 2, 3, 4), math.inf)


def test_landmarks_are_measured_in_the_moving_scans_millimetres(case: Case) -> None:
    assert _metric("tre").measure(case) == {}
    landmarks = Landmarks(torch.tensor([[4.0, 5.0, 6.0]]), torch.tensor([[4.0, 5.0, 8.0]]))
    still = _case(case.truth.fixed_labels.data.numpy(), case.truth.moving_labels.data.numpy(), torch.zeros(3, *SHAPE))
    truth = dataclasses.replace(still.truth, landmarks=landmarks)
    assert _metric("tre").measure(dataclasses.replace(still, truth=truth)) == {None: 10.0}
    outside = Landmarks(landmarks.fixed + 100, landmarks.moving)
    truth = dataclasses.replace(still.truth, landmarks=outside)
    assert _metric("tre").measure(dataclasses.replace(still, truth=truth)) == {}


def test_inverse_consistency_needs_the_way_back(blobs: LabelMaps) -> None:
    shift = torch.zeros(3, *SHAPE)
    shift[2] = 2
    labels = blobs(35)
    assert _metric("inverse-consistency").measure(_case(labels, labels, shift)) == {}
    back = _case(labels, labels, shift, reverse=Field(-shift, MOVING_GRID))
    assert _metric("inverse-consistency").measure(back) == {None: 0.0}
    wrong = _case(labels, labels, shift, reverse=Field(shift, MOVING_GRID))
    assert _metric("inverse-consistency").measure(wrong)[None] == pytest.approx(20.0)
