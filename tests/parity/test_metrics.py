"""Metrics against the Learn2Reg evaluation's own values, on inputs by formula."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regbench.api import Landmarks
from regbench.metrics import dsc, folding_percent, hd95, landmark_errors_mm, sdlogj
from regbench.metrics.regularity import sdlogj_of_determinants
from regbench.spatial import jacobian_determinant, warp_labels

PROBES: dict[str, Any] = json.loads((Path(__file__).parent / "probes" / "metrics.json").read_text())
INPUTS = PROBES["inputs"]
LABELS = INPUTS["labels"]
FIELDS = list(PROBES["values"])


def _wave(terms: list[Any]) -> np.ndarray:
    index = np.indices(PROBES["shape"]).astype(np.float64)
    value = np.zeros(PROBES["shape"])
    for weight, factors in terms:
        product = np.full(PROBES["shape"], float(weight))
        for *slopes, phase in factors:
            product *= np.sin(np.tensordot(slopes, index, 1) + phase)
        value += product
    return value


def _labels(name: str) -> Tensor:
    spec = INPUTS[name]
    labels = (_wave(spec["terms"])[..., None] > np.array(spec["thresholds"])).sum(-1).astype(np.uint8)
    if "then" in spec:
        labels[labels == 5] = 0
    return torch.from_numpy(labels)


def _field(name: str) -> Tensor:
    if name == "zero":
        return torch.zeros(3, *PROBES["shape"])
    parts = [part["scale"] * _wave(part["terms"]) for part in INPUTS["fields"][name]["components"]]
    return torch.from_numpy(np.stack(parts).astype(np.float32))


def _official(values: list[float | None]) -> dict[int, float]:
    return {label: value for label, value in zip(LABELS, values, strict=True) if value is not None}


@pytest.fixture(scope="module")
def fixed() -> Tensor:
    labels = _labels("fixed_seg")
    assert np.bincount(labels.ravel()).tolist() == PROBES["input_check"]["fixed_label_counts"]
    return labels


@pytest.fixture(scope="module")
def moving() -> Tensor:
    labels = _labels("moving_seg")
    assert np.bincount(labels.ravel(), minlength=6).tolist() == PROBES["input_check"]["moving_label_counts"]
    return labels


@pytest.mark.parametrize("name", FIELDS)
def test_labels(name: str, fixed: Tensor, moving: Tensor) -> None:
    values = PROBES["values"][name]
    moved = warp_labels(moving, _field(name))
    assert np.bincount(moved.ravel(), minlength=6).tolist() == values["warped_label_counts"]
    assert dsc(fixed, moved, LABELS) == pytest.approx(_official(values["l2r_dice_per_label"]), rel=1e-8)
    assert hd95(fixed, moved, LABELS, (1, 1, 1)) == pytest.approx(_official(values["l2r_hd95_per_label"]), rel=1e-8)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jacobian(name: str, dtype: torch.dtype) -> None:
    values, u = PROBES["values"][name], _field(name).to(dtype)
    determinant = jacobian_determinant(u)
    assert determinant.numel() == values["n_voxels_of_jacobian"]
    probe = PROBES["probes"][name]["l2r_jacobian_cropped"]
    i, j, k = np.array(probe["index"]).T
    np.testing.assert_allclose(determinant[i, j, k], probe["value"], atol=2e-6)
    assert sdlogj(u, "l2r") == pytest.approx(values["l2r_sdlogj"], abs=1e-6)
    assert sdlogj(u, "strict") == pytest.approx(values["sdlogj_without_plus3"], rel=1e-6)
    assert folding_percent(u) == 100 * values["num_foldings_true"] / values["n_voxels_of_jacobian"]


@pytest.mark.parametrize("name", FIELDS)
def test_jacobian_within_a_mask(name: str) -> None:
    inside = torch.zeros(PROBES["shape"], dtype=torch.bool)
    inside[6:34, 5:43, 8:40] = True
    assert int(inside.sum()) == PROBES["input_check"]["mask_voxels"]
    determinant = jacobian_determinant(_field(name))[inside[2:-2, 2:-2, 2:-2]]
    masked = sdlogj_of_determinants([determinant[:, None, None]], "l2r")
    assert masked == pytest.approx(PROBES["values"][name]["l2r_sdlogj_masked"], abs=1e-6)


@pytest.mark.parametrize("name", FIELDS)
def test_landmarks(name: str) -> None:
    landmarks = Landmarks(
        torch.tensor(INPUTS["landmarks_fixed"], dtype=torch.float64),
        torch.tensor(INPUTS["landmarks_moving"], dtype=torch.float64),
    )
    errors = landmark_errors_mm(_field(name), landmarks, INPUTS["landmark_spacing"])
    np.testing.assert_allclose(errors, PROBES["values"][name]["l2r_tre_per_landmark"], rtol=1e-6)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (1.5, 1.5, 3.15)])
def test_hausdorff_distance_at_other_spacings(spacing: tuple[float, ...], fixed: Tensor, moving: Tensor) -> None:
    official = PROBES["hausdorff_of_unwarped_label"]
    label, key = official["label"], json.dumps(list(spacing))
    found = hd95(fixed, moving, [label], spacing)
    assert found == pytest.approx({label: official["by_spacing"][key]["hd95"]}, rel=1e-8)
