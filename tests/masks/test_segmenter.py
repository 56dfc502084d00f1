"""The segmentation network: learns from the training side only, resumes, and fits any size."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from regbench.api import Grid, MaskRequest, Silent, Tick, Volume
from regbench.errors import DataError
from regbench.masks.augment import WIDE, Variation, mild, random_variant
from regbench.masks.segmenter import Segmenter

SHAPE = (22, 20, 26)
GRID = Grid.centred(SHAPE, (2.0, 2.0, 2.0))
LABELS = {2: "bright", 7: "dark"}
SMALL = Segmenter(steps=120, channels=8, learning_rate=5e-3, augmentation=0.3)


def patient(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")).float()
    scan, labels = torch.full(SHAPE, 0.5), torch.zeros(SHAPE, dtype=torch.uint8)
    for label, value, centre in ((2, 0.9, (7, 10, 9)), (7, 0.1, (15, 10, 17))):
        middle = torch.tensor(centre) + 2 * torch.randn(3, generator=generator)
        inside = (grid - middle[:, None, None, None]).square().sum(0) <= 25
        scan[inside], labels[inside] = value, label
    return scan + 0.02 * torch.randn(SHAPE, generator=generator), labels


@pytest.fixture
def request_(tmp_path: Path) -> MaskRequest:
    patients = {f"{n:04}": patient(n) for n in range(5)}
    return MaskRequest(
        scans={name: Volume(scan, GRID) for name, (scan, _) in patients.items()},
        sources={},
        labels=LABELS,
        training_labels={name: Volume(labels, GRID) for name, (_, labels) in list(patients.items())[:4]},
        truth=None,
        workspace=tmp_path,
        device=torch.device("cpu"),
        seed=0,
        modality="ct",
    )


def dice(mask: torch.Tensor, truth: torch.Tensor) -> Mapping[int, float]:
    return {
        label: float(2 * ((mask == label) & (truth == label)).sum() / ((mask == label).sum() + (truth == label).sum()))
        for label in LABELS
    }


def test_an_unseen_patient_is_segmented_and_a_second_call_only_reads(request_: MaskRequest) -> None:
    masks = SMALL.masks(request_)
    assert min(dice(masks["0004"].data, patient(4)[1]).values()) > 0.7
    assert masks["0004"].data.dtype == torch.uint8
    written = (request_.workspace / "weights.safetensors").stat().st_mtime_ns
    again = SMALL.masks(request_)
    assert torch.equal(again["0004"].data, masks["0004"].data)
    assert (request_.workspace / "weights.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "of another network"])
def test_a_damaged_checkpoint_is_told_of_and_its_training_done_anew(request_: MaskRequest, damage: str) -> None:
    notes: list[str] = []

    class Told(Silent):
        def note(self, sentence: str) -> None:
            notes.append(sentence)

    few, request = replace(SMALL, steps=3), replace(request_, progress=Told())
    first = few.masks(request)
    state = request.workspace / "state.pt"
    whole = bytearray(state.read_bytes())
    whole[len(whole) // 2] ^= 1
    state.write_bytes({"flipped": whole, "cut": whole[: len(whole) // 2]}.get(damage, b""))
    if damage == "of another network":
        state.unlink()
        replace(few, channels=4).masks(request_)
    assert notes == []
    again = few.masks(request)
    assert notes == [f"The segmenter's checkpoint in {request.workspace} is damaged; training anew."]
    assert all(torch.equal(again[scan].data, first[scan].data) for scan in first)
    assert few.masks(request).keys() == first.keys()
    assert len(notes) == 1


def test_it_tells_how_far_it_has_come(request_: MaskRequest) -> None:
    told: list[object] = []

    class Told(Silent):
        def started(self, phase: str, total: float | None, unit: str) -> None:
            told.append((phase, total, unit))

        def advanced(self, tick: Tick) -> None:
            told.append(tick.done)

        def done(self) -> None:
            told.append("done")

    replace(SMALL, steps=2).masks(replace(request_, progress=Told()))
    assert told[0] == ("train", 2.0, "step")
    assert told[told.index("done") :] == ["done", 1.0, 2.0, 3.0, 4.0, 5.0]


def test_test_labels_are_not_needed_and_training_labels_are(request_: MaskRequest) -> None:
    with pytest.raises(DataError, match="labels"):
        SMALL.masks(replace(request_, training_labels={}))


def test_with_folds_no_training_scan_is_segmented_by_a_network_that_has_seen_it(
    request_: MaskRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that learns nothing but whom it has seen stands in: it marks the scans of its patients."""
    names = {tuple(volume.data.flatten()[:9].tolist()): name for name, volume in request_.scans.items()}

    class Seen(torch.nn.Module):
        def __init__(self, patients: set[str]) -> None:
            super().__init__()
            self.patients = patients

        def forward(self, scans: torch.Tensor) -> torch.Tensor:
            seen = names[tuple(scans[0, 0].flatten()[:9].tolist())] in self.patients
            return torch.stack([torch.full_like(scans[:, 0], float(seen == bool(label))) for label in (0, 1, 0)], 1)

    monkeypatch.setattr(Segmenter, "_train", lambda _, request: Seen(set(request.training_labels)))
    plain, held_out = (replace(SMALL, folds=folds).masks(request_) for folds in (1, 2))
    assert [bool(mask.data.any()) for mask in plain.values()] == [True] * 4 + [False]
    assert [bool(mask.data.any()) for mask in held_out.values()] == [False] * 5


def test_folds_keep_their_networks_apart_and_are_no_more_than_the_patients(request_: MaskRequest) -> None:
    few = replace(SMALL, steps=2, folds=2)
    masks = few.masks(request_)
    assert set(masks) == set(request_.scans)
    assert {path.parent.name for path in request_.workspace.glob("*/weights.safetensors")} == {
        "without_1_of_2",
        "without_2_of_2",
    }
    with pytest.raises(DataError, match="4 training patients for 5 folds"):
        replace(SMALL, folds=5).masks(request_)


@pytest.mark.parametrize("variation", [mild(1.0), WIDE], ids=["mild", "wide"])
def test_augmentation_moves_scan_and_labels_together(variation: Variation) -> None:
    scan, labels = patient(0)
    torch.manual_seed(1)
    bent, bent_labels = random_variant(scan, labels, variation)
    assert not torch.equal(bent_labels, labels)
    assert set(bent_labels.unique().tolist()) <= {0, 2, 7}
    assert bent[bent_labels == 2].median() > bent[bent_labels == 0].median() > bent[bent_labels == 7].median()
    assert bent.min() >= 0
    assert bent.max() <= 1


@pytest.mark.parametrize("part", [field.name for field in fields(Variation)])
def test_each_part_of_a_variation_changes_what_it_names_and_no_more(part: str) -> None:
    scan, labels = patient(0)
    moves = part in {"turn", "turn_in_plane", "scale", "shift", "bend"}
    drawn = []
    for seed in range(8):  # a scan in three is blurred
        torch.manual_seed(seed)
        drawn.append(random_variant(scan, labels, replace(Variation(), **{part: 0.2})))
    assert any(not torch.equal(bent, scan) for bent, _ in drawn)
    assert any(not torch.equal(bent_labels, labels) for _, bent_labels in drawn) is moves


def test_a_turn_in_plane_leaves_each_slice_in_its_place() -> None:
    scan, labels = patient(0)
    scan[:, :, 13:], labels[:, :, 13:] = 0.0, 0
    torch.manual_seed(0)
    bent, bent_labels = random_variant(scan, labels, Variation(turn_in_plane=0.5))
    assert bent[:, :, 13:].max() < 1e-4
    assert not bent_labels[:, :, 13:].any()
    assert bent_labels.any()


def test_no_augmentation_changes_nothing() -> None:
    scan, labels = patient(0)
    assert random_variant(scan, labels, mild(0.0)) == (scan, labels)
