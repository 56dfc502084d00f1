"""Spoiled labels: as good as asked, the same again, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from regbench.api import Grid, MaskRequest, Volume
from regbench.errors import DataError
from regbench.masks.degraded import DegradedMasks, degrade
from regbench.masks.truth import TruthMasks

SHAPE = (40, 36, 32)
LABELS = {1: "liver", 2: "spleen", 3: "left adrenal gland"}


def anatomy(shift: int = 0) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    labels = np.zeros(SHAPE, np.uint8)
    for label, centre, radius in ((1, (14, 16, 15), 10), (2, (28, 20, 16), 7), (3, (21 + shift, 29, 20), 3)):
        labels[((grid - np.array(centre)[:, None, None, None]) ** 2).sum(0) <= radius**2] = label
    return labels


def dice(a: np.ndarray, b: np.ndarray, label: int) -> float:
    return 2 * np.sum((a == label) & (b == label)) / (np.sum(a == label) + np.sum(b == label))


def request(truth: dict[str, np.ndarray] | None, labels: dict[int, str] = LABELS) -> MaskRequest:
    grid = Grid.centred(SHAPE, (2.0, 2.0, 2.0))
    return MaskRequest(
        scans={scan: Volume(torch.zeros(SHAPE), grid) for scan in ("0001", "0002")},
        sources={},
        labels=labels,
        training_labels={},
        truth=None if truth is None else {s: Volume(torch.from_numpy(t), grid) for s, t in truth.items()},
        workspace=Path(),
        device=torch.device("cpu"),
        seed=0,
        modality="ct",
    )


TRUTH = {"0001": anatomy(), "0002": anatomy(1)}


@pytest.mark.parametrize("target", [0.95, 0.8, 0.6])
def test_every_organ_has_the_stated_dice(target: float) -> None:
    found = [degrade(anatomy(), dict.fromkeys(LABELS, target), seed=seed) for seed in range(4)]
    for label in LABELS:
        assert np.mean([dice(anatomy(), spoiled, label) for spoiled in found]) == pytest.approx(target, abs=0.01)


def test_the_default_is_the_quality_of_the_paper() -> None:
    masks = DegradedMasks().masks(request(TRUTH))
    for label, target in ((1, 0.955), (2, 0.928), (3, 0.626)):
        reached = np.mean([dice(TRUTH[scan], masks[scan].data.numpy(), label) for scan in TRUTH])
        assert reached == pytest.approx(target, abs=0.02)


def test_perfect_quality_is_the_truth() -> None:
    np.testing.assert_array_equal(degrade(anatomy(), dict.fromkeys(LABELS, 1.0), seed=0), anatomy())


def test_the_same_request_gives_the_same_masks_and_scans_differ() -> None:
    first, second = (DegradedMasks(quality=0.8).masks(request(TRUTH)) for _ in range(2))
    assert torch.equal(first["0001"].data, second["0001"].data)
    swapped = DegradedMasks(quality=0.8).masks(request({"0001": anatomy(), "0002": anatomy()}))
    assert not torch.equal(swapped["0001"].data, swapped["0002"].data)


def test_structures_that_are_not_asked_for_are_background() -> None:
    for source in (TruthMasks(), DegradedMasks(quality=0.9)):
        masks = source.masks(request(TRUTH, {1: "liver"}))
        assert set(masks["0001"].data.unique().tolist()) == {0, 1}


def test_an_absent_organ_stays_absent() -> None:
    labels = anatomy()
    labels[labels == 3] = 0
    masks = DegradedMasks(quality=0.7).masks(request({"0001": labels, "0002": labels}))
    assert 3 not in masks["0001"].data


@pytest.mark.parametrize("source", [TruthMasks(), DegradedMasks()])
def test_a_scan_without_labels_is_an_error_that_names_it(source: TruthMasks | DegradedMasks) -> None:
    with pytest.raises(DataError, match="0002"):
        source.masks(request({"0001": anatomy()}))
