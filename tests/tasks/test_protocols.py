"""Every protocol file, recomputed from its rule; and nothing leaks."""

import itertools
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from regbench.api import Crop, PairId, Percentiles, Protocol, Squeeze, Task, Window
from regbench.data import read_protocols
from regbench_tasks.abdomen import Abdomen
from regbench_tasks.acdc import Acdc

TASKS: dict[str, Task] = {"abdomen": Abdomen(), "acdc": Acdc()}
ALL = [protocol for task in TASKS.values() for protocol in task.protocols().values()]
EVERY = pytest.mark.parametrize("protocol", ALL, ids=lambda protocol: f"{protocol.task}-{protocol.name}")

ORGANS = [
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
]


def _person(scan: str) -> str:
    return scan.split("/")[0]


def test_the_protocols_are_those_of_the_design() -> None:
    assert {name: sorted(task.protocols()) for name, task in TASKS.items()} == {
        "abdomen": ["ipmi25", "l2r-val", "phantom", "sample20"],
        "acdc": ["ipmi25", "official50", "phantom", "sample30"],
    }
    assert all(task.default_protocol == "ipmi25" for task in TASKS.values())


@EVERY
def test_the_file_s_name_is_its_content_s(protocol: Protocol) -> None:
    file = files("regbench_tasks").joinpath("protocols", f"{protocol.task}-{protocol.name}.json")
    assert Protocol.model_validate_json(file.read_text(encoding="utf-8")) == protocol
    assert protocol.revision == (2 if protocol.name == "phantom" else 1)


@EVERY
def test_training_and_test_share_no_patient(protocol: Protocol) -> None:
    train = {_person(scan) for pair in protocol.train_pairs + protocol.validation_pairs for scan in pair}
    test = {_person(scan) for pair in protocol.test_pairs for scan in pair}
    assert train
    assert test
    assert not train & test
    assert {_person(scan) for scan in protocol.train} == train
    assert {_person(scan) for scan in protocol.test} == test


@EVERY
def test_no_scan_and_no_pair_stands_twice(protocol: Protocol) -> None:
    scans = protocol.train + protocol.test
    assert len(set(scans)) == len(scans)
    for pairs in (protocol.train_pairs, protocol.validation_pairs, protocol.test_pairs):
        assert len(set(pairs)) == len(pairs)
        assert all(pair.fixed != pair.moving for pair in pairs)


@EVERY
def test_validation_only_watches_the_training(protocol: Protocol) -> None:
    assert 1 <= len(protocol.validation_pairs) <= 4
    assert set(protocol.validation_pairs) <= set(protocol.train_pairs)
    watched = [_person(pair.fixed) for pair in protocol.validation_pairs]
    assert len(set(watched)) == len(watched)
    assert any("only watch the training" in note for note in protocol.notes)


@EVERY
def test_what_a_number_depends_on_is_stated(protocol: Protocol) -> None:
    said = " ".join(protocol.notes)
    assert "Resampling: " in said
    assert "nearest neighbour" in said
    assert "Intensities: " in said
    assert protocol.title
    assert all(note.endswith(".") for note in protocol.notes)


def test_a_file_with_a_patient_on_both_sides_is_refused() -> None:
    content = json.loads(Abdomen().protocols()["phantom"].model_dump_json())
    content["train"].append("0001")
    with pytest.raises(ValidationError, match="patients on both sides: 0001"):
        Protocol.model_validate(content)


def _cases(numbers: range | set[int]) -> tuple[str, ...]:
    return tuple(str(number).zfill(4) for number in sorted(numbers))


@pytest.mark.parametrize(
    ("name", "total", "last", "train_pairs", "test_pairs", "fixed_is_lower", "organs"),
    [
        ("ipmi25", 30, 28, 190, 45, False, 12),
        ("l2r-val", 30, 28, 190, 45, True, 13),
        ("sample20", 20, 19, 78, 21, True, 13),
        ("phantom", 29, 13, 276, 10, False, 13),
    ],
)
def test_abdomen(
    name: str, total: int, last: int, train_pairs: int, test_pairs: int, fixed_is_lower: bool, organs: int
) -> None:
    protocol = Abdomen().protocols()[name]
    test = range(1, last + 1, 3)
    assert protocol.test == _cases(test)
    assert protocol.train == _cases(set(range(1, total + 1)) - set(test))
    for scans, pairs in ((protocol.train, protocol.train_pairs), (protocol.test, protocol.test_pairs)):
        both = list(itertools.combinations(scans, 2))
        assert sorted(pairs) == sorted(both if fixed_is_lower else [(b, a) for a, b in both])
    assert (len(protocol.train_pairs), len(protocol.test_pairs)) == (train_pairs, test_pairs)
    expected = dict(enumerate(ORGANS, start=1))
    if organs == 12:
        del expected[4]
    assert protocol.labels == expected


def test_abdomen_grids_and_windows() -> None:
    protocols = Abdomen().protocols()
    full = Crop(shape=(192, 160, 256), spacing_mm=(2.0, 2.0, 2.0))
    assert {name: protocol.grid for name, protocol in protocols.items()} == {
        "ipmi25": Squeeze(shape=(160, 160, 160)),
        "l2r-val": full,
        "sample20": full,
        "phantom": full,
    }
    assert all(protocol.quick_shape == (48, 40, 64) for protocol in protocols.values())
    window = Window(low=-500, high=1000)
    assert {name: protocol.intensity for name, protocol in protocols.items()} == {
        "ipmi25": window,
        "l2r-val": window,
        "sample20": Window(low=-125, high=275),
        "phantom": window,
    }


def _frames(patients: list[str]) -> tuple[str, ...]:
    return tuple(f"{patient}/{phase}" for patient in patients for phase in ("ED", "ES"))


def _to_systole(patients: list[str]) -> tuple[PairId, ...]:
    return tuple(PairId(fixed=f"{patient}/ES", moving=f"{patient}/ED") for patient in patients)


def _patients(numbers: list[int] | range) -> list[str]:
    return [f"patient{number:03d}" for number in numbers]


def _hearts(name: str, train: list[str], test: list[str], both: bool = False) -> None:
    protocol = Acdc().protocols()[name]
    assert protocol.train == _frames(train)
    assert protocol.test == _frames(test)
    for pairs, patients in ((protocol.train_pairs, train), (protocol.test_pairs, test)):
        forth = _to_systole(patients)
        back = tuple(PairId(fixed=pair.moving, moving=pair.fixed) for pair in forth)
        assert sorted(pairs) == sorted(forth + back if both else forth)


def test_acdc_ipmi25_is_the_seeded_split_that_its_note_states() -> None:
    test = sorted((np.random.default_rng(2025).permutation(100)[:10] + 1).tolist())
    train = [number for number in range(1, 101) if number not in test]
    assert (len(train), len(test)) == (90, 10)
    _hearts("ipmi25", _patients(train), _patients(test))
    assert "numpy.random.default_rng(2025).permutation(100)[:10] + 1" in Acdc().protocols()["ipmi25"].notes[0]


def test_acdc_official50_has_both_directions() -> None:
    _hearts("official50", _patients(range(1, 101)), _patients(range(101, 151)), both=True)
    assert len(Acdc().protocols()["official50"].test_pairs) == 100


def test_acdc_phantom() -> None:
    test = range(1, 23, 3)
    train = [number for number in range(1, 33) if number not in test]
    assert (len(train), len(test)) == (24, 8)
    _hearts("phantom", _patients(train), _patients(test))


def test_acdc_sample30_has_the_counts_of_the_design() -> None:
    protocol = Acdc().protocols()["sample30"]
    assert (len(protocol.train_pairs), len(protocol.test_pairs)) == (24, 6)
    _hearts("sample30", [pair.fixed[:10] for pair in protocol.train_pairs], [p.fixed[:10] for p in protocol.test_pairs])


def test_acdc_grid_intensity_and_labels() -> None:
    for protocol in Acdc().protocols().values():
        assert protocol.grid == Crop(shape=(128, 128, 32), spacing_mm=(1.5, 1.5, 3.15))
        assert protocol.quick_shape == (64, 64, 16)
        assert protocol.intensity == Percentiles(low=0.5, high=99.5)
        assert protocol.labels == {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}


@pytest.mark.real
def test_sample20_is_what_the_sample_s_file_lists(abdomen_ct_folder: Path) -> None:
    listing = json.loads((abdomen_ct_folder / "AbdomenCTCT_dataset.json").read_text())
    pairs = [(pair["fixed"][-16:-12], pair["moving"][-16:-12]) for pair in listing["registration_val"]]
    protocol = Abdomen().protocols()["sample20"]
    assert list(protocol.test_pairs) == pairs
    assert {*protocol.train, *protocol.test} == {entry["image"][-16:-12] for entry in listing["training"]}


@pytest.mark.real
def test_sample30_is_the_sample_s_split(acdc_folder: Path) -> None:
    split = json.loads((acdc_folder / "split.json").read_text())
    _hearts("sample30", split["train"], split["validation"])


def test_a_package_s_protocols_are_read_by_task() -> None:
    assert set(read_protocols("regbench_tasks", "abdomen")) == set(Abdomen().protocols())
    assert read_protocols("regbench_tasks", "brain") == {}
