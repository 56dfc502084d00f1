"""The abdominal cohort: layout, anatomy, intensities, difficulty, and the known field."""

import csv
import json
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.spatial import jacobian_determinant, warp_labels
from regbench_tasks.phantom import abdomen
from regbench_tasks.phantom.abdomen_organs import LABELS, NUMBERS
from regbench_tasks.phantom.abdomen_patient import anatomy_map, look

SHAPE = (48, 36, 60)
CASES = 8
SEED = 0


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("abdomen")
    abdomen.write(folder, cases=CASES, seed=SEED, shape=SHAPE)
    return folder


@pytest.fixture(scope="module")
def images(cohort: Path) -> list[np.ndarray]:
    return [np.asanyarray(nib.load(p).dataobj) for p in sorted((cohort / "imagesTr").iterdir())]


@pytest.fixture(scope="module")
def labels(cohort: Path) -> list[np.ndarray]:
    return [np.asanyarray(nib.load(p).dataobj) for p in sorted((cohort / "labelsTr").iterdir())]


def read_points(path: Path) -> dict[str, np.ndarray]:
    with path.open() as file:
        return {row["name"]: np.array([float(row[a]) for a in "xyz"]) for row in csv.DictReader(file)}


def dice(a: np.ndarray, b: np.ndarray) -> dict[int, float]:
    shared = [n for n in LABELS if (a == n).any() and (b == n).any()]
    return {n: 2 * ((a == n) & (b == n)).sum() / ((a == n).sum() + (b == n).sum()) for n in shared}


def test_the_layout_is_the_official_one(cohort: Path) -> None:
    listing = json.loads((cohort / "AbdomenCTCT_dataset.json").read_text())
    assert len(listing["training"]) == listing["numTraining"] == CASES
    assert listing["labels"]["0"]["6"] == "liver"
    held_out = [f"./imagesTr/AbdomenCTCT_{i:04d}_0000.nii.gz" for i in (1, 4, 7)]
    assert [(p["fixed"], p["moving"]) for p in listing["registration_val"]] == list(combinations(held_out, 2))
    for entry in listing["training"]:
        image, label = (nib.load(cohort / entry[kind]) for kind in ("image", "label"))
        assert image.shape == label.shape == SHAPE
        assert image.get_data_dtype() == np.int16
        assert label.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(image.affine, label.affine)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(np.diag(image.affine)[:3] * SHAPE, (384, 320, 512))


def test_a_case_is_the_same_bytes_in_a_cohort_of_any_size(cohort: Path, tmp_path: Path) -> None:
    anatomy_map.cache_clear()
    abdomen.write(tmp_path, cases=1, seed=SEED, shape=SHAPE)
    written = [p for p in tmp_path.rglob("*0001*") if p.is_file()]
    assert len(written) == 3
    for path in written:
        assert path.read_bytes() == (cohort / path.relative_to(tmp_path)).read_bytes(), path.name


def test_another_seed_gives_another_patient(cohort: Path, tmp_path: Path) -> None:
    abdomen.write(tmp_path, cases=1, seed=SEED + 1, shape=SHAPE)
    for path in tmp_path.rglob("*0001*"):
        assert path.read_bytes() != (cohort / path.relative_to(tmp_path)).read_bytes(), path.name


def test_every_organ_is_there_but_for_gallbladders_that_were_taken_out(labels: list[np.ndarray]) -> None:
    without = 0
    for case, present in enumerate(map(np.unique, labels), 1):
        missing = set(LABELS) - set(present.tolist())
        assert missing == (set() if look(SEED, case).gallbladder else {NUMBERS["gallbladder"]}), case
        without += len(missing)
    assert without < 3
    assert any(not look(SEED, case).gallbladder for case in range(1, 31))


def test_organs_have_the_volumes_of_an_adult(labels: list[np.ndarray]) -> None:
    voxel_ml = float(np.prod(abdomen.grid_of(SHAPE).spacing_mm)) / 1000
    expected = {
        "liver": (900, 2000),
        "spleen": (100, 400),
        "left kidney": (90, 250),
        "right kidney": (90, 250),
        "stomach": (200, 1100),
        "pancreas": (35, 120),
        "aorta": (60, 160),
    }
    for name, (low, high) in expected.items():
        mean = np.mean([(m == NUMBERS[name]).sum() for m in labels]) * voxel_ml
        assert low < mean < high, (name, mean)


def test_organs_lie_where_they_belong(labels: list[np.ndarray]) -> None:
    grid = abdomen.grid_of(SHAPE)

    def middle(name: str) -> np.ndarray:
        found = (np.argwhere(m == NUMBERS[name]).astype(float) for m in labels)
        places = [grid.to_world(voxels).mean(0) for voxels in found if len(voxels)]
        return np.mean(places, axis=0)

    x, y, z = 0, 1, 2
    assert middle("liver")[x] > 40
    assert middle("gallbladder")[x] > 30
    assert middle("spleen")[x] < -60
    assert middle("stomach")[x] < -20
    assert middle("aorta")[x] < 0 < middle("inferior vena cava")[x]
    assert middle("right kidney")[x] > 40 > -40 > middle("left kidney")[x]
    assert middle("right kidney")[z] < middle("left kidney")[z]
    for side in ("right", "left"):
        assert middle(f"{side} adrenal gland")[z] > middle(f"{side} kidney")[z]
        assert abs(middle(f"{side} adrenal gland")[x]) < abs(middle(f"{side} kidney")[x])
    assert middle("pancreas")[y] > middle("portal and splenic vein")[y] > middle("aorta")[y]
    assert middle("esophagus")[z] > middle("liver")[z] > middle("gallbladder")[z]


def test_intensities_are_those_of_ct_and_neighbours_overlap(images: list[np.ndarray], labels: list[np.ndarray]) -> None:
    fat, overlaps = [], 0
    for image, label in zip(images, labels, strict=True):
        assert image.min() >= -1024
        assert 250 < image.max() < 1500
        fat.append(float(np.median(image[(image > -150) & (image < -60)])))
        liver, spleen = (image[label == NUMBERS[n]] for n in ("liver", "spleen"))
        assert 0 < np.median(liver) < 160
        overlaps += np.percentile(liver, 90) > np.percentile(spleen, 10)
    assert -125 < np.mean(fat) < -85
    assert overlaps > CASES / 2


def test_phases_of_the_contrast_medium_vary(images: list[np.ndarray], labels: list[np.ndarray]) -> None:
    aorta = [float(np.median(i[m == NUMBERS["aorta"]])) for i, m in zip(images, labels, strict=True)]
    assert max(aorta) > 200
    assert np.ptp(aorta) > 80
    assert len({look(SEED, case).phase for case in range(1, 31)}) == 4


def test_the_cohort_is_as_hard_as_the_real_one(labels: list[np.ndarray]) -> None:
    rows = [dice(a, b) for a, b in combinations(labels, 2)]
    mean = {name: float(np.mean([r[n] for r in rows if n in r])) for n, name in LABELS.items()}
    assert 0.20 <= np.mean(list(mean.values())) <= 0.30, mean
    assert 0.5 < mean["liver"] < 0.7
    for name in ("spleen", "left kidney", "right kidney"):
        assert 0.25 < mean[name] < 0.5, mean
    for name in ("portal and splenic vein", "left adrenal gland", "right adrenal gland"):
        assert mean[name] < 0.15, mean


@pytest.mark.parametrize("case", range(1, CASES + 1))
def test_no_map_folds(case: int) -> None:
    half = abdomen.Grid.centred((65, 54, 86), (6.0, 6.0, 6.0))
    mapped = torch.from_numpy(anatomy_map(SEED, case).on_grid(half)) / 6
    index = torch.from_numpy(np.indices(half.shape).astype(np.float32))
    assert float(jacobian_determinant(mapped - index).min()) > 0.05


def test_the_true_field_brings_one_patient_onto_another(labels: list[np.ndarray]) -> None:
    u = torch.from_numpy(abdomen.true_field(seed=SEED, shape=SHAPE, fixed="0002", moving="0003"))
    moved = warp_labels(torch.from_numpy(labels[2]), u).numpy()
    before, after = dice(labels[1], labels[2]), dice(labels[1], moved)
    assert np.mean(list(after.values())) > 0.72
    assert after[NUMBERS["liver"]] > 0.93
    assert all(after[n] > before[n] for n in before)
    assert float(jacobian_determinant(u).min()) > 0
    length = np.linalg.norm(u.numpy() * np.array(abdomen.grid_of(SHAPE).spacing_mm)[:, None, None, None], axis=0)
    assert 8 < length[labels[1] > 0].mean() < 45


def test_the_field_from_a_patient_to_himself_is_zero() -> None:
    u = abdomen.true_field(seed=SEED, shape=(12, 10, 16), fixed="0001", moving="0001")
    np.testing.assert_allclose(u, 0, atol=1e-3)


def test_landmarks_correspond_by_the_true_field(cohort: Path) -> None:
    fixed, moving = (read_points(cohort / f"landmarksTr/AbdomenCTCT_{i}_0000.csv") for i in ("0001", "0003"))
    names = [n for n in fixed if n in moving]
    assert len(names) > 400
    assert {n.rsplit(" ", 1)[0] for n in names} >= set(LABELS.values()) - {"gallbladder"}
    p, q = (np.stack([points[n] for n in names]) for points in (fixed, moving))
    direct = anatomy_map(SEED, 3).inverse_at(anatomy_map(SEED, 1).at(p))
    np.testing.assert_allclose(direct, q, atol=2e-3)
    grid = abdomen.grid_of(SHAPE)
    u = abdomen.true_field(seed=SEED, shape=SHAPE, fixed="0001", moving="0003")
    nearest = np.round(grid.to_index(p)).astype(int)
    moved = grid.to_index(p) + u[:, *nearest.T].T
    miss = np.linalg.norm((moved - grid.to_index(q)) * grid.spacing_mm, axis=1)
    assert np.median(miss) < 2.5


def test_landmarks_lie_in_their_organs(cohort: Path, labels: list[np.ndarray]) -> None:
    grid = abdomen.grid_of(SHAPE)
    points = read_points(cohort / "landmarksTr/AbdomenCTCT_0001_0000.csv")
    liver = np.stack([p for n, p in points.items() if n.startswith("liver")])
    found = labels[0][tuple(np.round(grid.to_index(liver)).astype(int).T)]
    # half of them lie on the surface, where the nearest voxel may be on either side
    assert (found == NUMBERS["liver"]).mean() > 0.6
