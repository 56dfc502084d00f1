"""The cardiac cohort: layout, anatomy, contraction, difficulty, and the known field."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from regbench.errors import BadValueError
from regbench.spatial import jacobian_determinant, warp_labels
from regbench_tasks.phantom import cardiac
from regbench_tasks.phantom.cardiac_motion import contraction
from regbench_tasks.phantom.cardiac_patient import DIAGNOSES, diagnosis, heart
from regbench_tasks.phantom.cardiac_scan import LEFT, MUSCLE, RIGHT

SHAPE = (64, 64, 16)
CASES = 10
SEED = 0


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acdc")
    cardiac.write(folder, cases=CASES, seed=SEED, shape=SHAPE)
    return folder


def stem(folder: Path, case: int, phase: str) -> str:
    name = f"patient{case:03d}"
    return f"{folder}/{name}/{name}_frame{int(cardiac.info(SEED, case)[phase]):02d}"


@pytest.fixture(scope="module")
def labels(cohort: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    def read(case: int, phase: str) -> np.ndarray:
        return np.asanyarray(nib.load(f"{stem(cohort, case, phase)}_gt.nii.gz").dataobj)

    return [(read(case, "ED"), read(case, "ES")) for case in range(1, CASES + 1)]


def read_points(path: Path) -> dict[str, np.ndarray]:
    with path.open() as file:
        return {row["name"]: np.array([float(row[a]) for a in "xyz"]) for row in csv.DictReader(file)}


def dice(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [2 * ((a == n) & (b == n)).sum() / ((a == n).sum() + (b == n).sum()) for n in (RIGHT, MUSCLE, LEFT)]


def test_the_layout_is_the_official_one(cohort: Path) -> None:
    for case in range(1, CASES + 1):
        folder = cohort / f"patient{case:03d}"
        info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
        assert set(info) == {"ED", "ES", "Group", "Height", "NbFrame", "Weight"}
        assert info["ED"] == "1"
        assert 8 <= int(info["ES"]) <= 14 < int(info["NbFrame"])
        assert info["Group"] in DIAGNOSES
        assert 130 < float(info["Height"]) < 215
        for phase in ("ED", "ES"):
            image, label = (nib.load(f"{stem(cohort, case, phase)}{end}.nii.gz") for end in ("", "_gt"))
            assert image.shape == label.shape == SHAPE
            assert image.get_data_dtype() == np.int16
            assert label.get_data_dtype() == np.uint8
            np.testing.assert_array_equal(image.affine, label.affine)
            assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
            np.testing.assert_allclose(np.diag(image.affine)[:3] * SHAPE, (192, 192, 100.8), rtol=1e-6)
        assert len(list(folder.iterdir())) == 7


def test_a_case_is_the_same_bytes_in_a_cohort_of_any_size(cohort: Path, tmp_path: Path) -> None:
    contraction.cache_clear()
    cardiac.write(tmp_path, cases=1, seed=SEED, shape=SHAPE)
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) == 7
    for path in written:
        assert path.read_bytes() == (cohort / path.relative_to(tmp_path)).read_bytes(), path.name


def test_another_seed_gives_another_heart(cohort: Path, tmp_path: Path) -> None:
    cardiac.write(tmp_path, cases=1, seed=SEED + 1, shape=SHAPE)
    first = "patient001/patient001_frame01.nii.gz"
    assert (tmp_path / first).read_bytes() != (cohort / first).read_bytes()


def test_five_patients_in_a_row_have_five_diagnoses() -> None:
    for first in (1, 6):
        assert {diagnosis(SEED, first + n) for n in range(5)} == set(DIAGNOSES)


def test_every_structure_is_there_and_the_right_ventricle_is_right(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for pair in labels:
        for m in pair:
            assert set(np.unique(m)) == {0, RIGHT, MUSCLE, LEFT}
            x = {n: np.argwhere(m == n)[:, 0].mean() for n in (RIGHT, MUSCLE, LEFT)}
            assert x[RIGHT] > x[MUSCLE]
            assert x[RIGHT] > x[LEFT]


def test_the_cavity_lies_within_the_muscle(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for pair in labels:
        for m in pair:
            cavity = np.argwhere(m == LEFT)
            middle = m[:, :, round(float(cavity[:, 2].mean()))]
            i, j = (round(v) for v in np.argwhere(middle == LEFT).mean(0).tolist())
            for ray in (middle[i:, j], middle[i::-1, j], middle[i, j:], middle[i, j::-1]):
                first_outside = ray[np.flatnonzero(ray != LEFT)[0]]
                assert first_outside == MUSCLE


def test_ejection_fractions_are_those_of_the_diagnoses(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ejected: dict[str, list[float]] = {}
    for case, (ed, es) in enumerate(labels, 1):
        ejected.setdefault(diagnosis(SEED, case), []).append(1 - (es == LEFT).sum() / (ed == LEFT).sum())
    mean = {group: float(np.mean(v)) for group, v in ejected.items()}
    assert mean["DCM"] < mean["MINF"] < mean["NOR"]
    assert mean["NOR"] > 0.5
    assert 0.25 < mean["DCM"] < 0.5


def test_the_muscle_keeps_its_volume(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ratios = [(es == MUSCLE).sum() / (ed == MUSCLE).sum() for ed, es in labels]
    assert 0.88 < np.mean(ratios) < 1.05
    own, motion = heart(SEED, 1), contraction(SEED, 1)
    points = cardiac.landmarks(seed=SEED, case=1, phase="ES", grid=cardiac.grid_of(SHAPE))
    wall = np.stack([p for n, p in points.items() if n.startswith("middle") and n[19] in "3456"])
    assert np.median(np.linalg.det(motion.jacobian_at(wall))) == pytest.approx(1.0, abs=0.12)
    assert own.typical.shortening > 0


def test_the_wall_thickens_and_the_base_comes_down() -> None:
    grid = cardiac.grid_of(SHAPE)
    case = next(c for c in range(1, 6) if diagnosis(SEED, c) == "NOR")
    ed, es = (cardiac.landmarks(seed=SEED, case=case, phase=p, grid=grid) for p in ("ED", "ES"))

    def thickness(points: dict[str, np.ndarray]) -> float:
        pairs = [(points[f"endocardium 4.{n}"], points[f"epicardium 4.{n}"]) for n in range(1, 21)]
        return float(np.mean([np.linalg.norm(a - b) for a, b in pairs]))

    assert 1.2 < thickness(es) / thickness(ed) < 1.8
    down = [ed[f"epicardium 8.{n}"][2] - es[f"epicardium 8.{n}"][2] for n in range(1, 21)]
    assert 7 < np.mean(down) < 18


def test_the_cohort_is_as_hard_as_the_real_one(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    rows = np.array([dice(es, ed) for ed, es in labels])
    assert 0.50 <= rows.mean() <= 0.62, rows.mean(0)


def test_intensities_tell_blood_from_muscle_from_lung(
    cohort: Path, labels: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    scales = []
    for case, pair in enumerate(labels, 1):
        for phase, m in zip(("ED", "ES"), pair, strict=True):
            image = np.asanyarray(nib.load(f"{stem(cohort, case, phase)}.nii.gz").dataobj)
            assert image.min() >= 0
            blood, muscle = (float(np.median(image[m == n])) for n in (LEFT, MUSCLE))
            assert blood > 1.6 * muscle > 1.6 * float(np.percentile(image, 10))
            scales.append(float(image.max()))
    assert max(scales) > 1.8 * min(scales)


@pytest.mark.parametrize("case", range(1, CASES + 1))
def test_the_contraction_does_not_fold(case: int) -> None:
    u = torch.from_numpy(
        cardiac.true_field(seed=SEED, shape=(96, 96, 32), fixed=f"patient{case:03d}/ES", moving=f"patient{case:03d}/ED")
    )
    assert float(jacobian_determinant(u).min()) > 0.05


def test_the_true_field_brings_diastole_onto_systole_and_back(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ed, es = labels[0]
    forth = cardiac.true_field(seed=SEED, shape=SHAPE, fixed="patient001/ES", moving="patient001/ED")
    back = cardiac.true_field(seed=SEED, shape=SHAPE, fixed="patient001/ED", moving="patient001/ES")
    assert np.mean(dice(es, warp_labels(torch.from_numpy(ed), torch.from_numpy(forth)).numpy())) > 0.85
    assert np.mean(dice(ed, warp_labels(torch.from_numpy(es), torch.from_numpy(back)).numpy())) > 0.85


def test_the_field_is_known_within_a_patient_only() -> None:
    with pytest.raises(BadValueError, match="patient002"):
        cardiac.true_field(seed=SEED, shape=SHAPE, fixed="patient001/ES", moving="patient002/ED")


def test_what_lies_far_from_the_heart_hardly_moves(labels: list[tuple[np.ndarray, np.ndarray]]) -> None:
    u = cardiac.true_field(seed=SEED, shape=SHAPE, fixed="patient001/ES", moving="patient001/ED")
    length = np.linalg.norm(u * np.array(cardiac.grid_of(SHAPE).spacing_mm)[:, None, None, None], axis=0)
    corners = np.concatenate([length[:8, :8].ravel(), length[-8:, :8].ravel(), length[-8:, -8:].ravel()])
    assert corners.mean() < 3
    assert length[labels[0][1] > 0].mean() > 5


def test_landmarks_correspond_by_the_true_field(cohort: Path) -> None:
    ed, es = (read_points(Path(f"{stem(cohort, 1, phase)}_landmarks.csv")) for phase in ("ED", "ES"))
    names = [n for n in es if n in ed]
    assert len(names) > 300
    p, q = (np.stack([points[n] for n in names]) for points in (es, ed))
    np.testing.assert_allclose(contraction(SEED, 1).at(p), q, atol=1e-3)
    grid = cardiac.grid_of(SHAPE)
    u = cardiac.true_field(seed=SEED, shape=SHAPE, fixed="patient001/ES", moving="patient001/ED")
    nearest = np.round(grid.to_index(p)).astype(int)
    miss = (grid.to_index(p) + u[:, *nearest.T].T - grid.to_index(q)) * grid.spacing_mm
    assert np.median(np.linalg.norm(miss, axis=1)) < 1.5
    assert np.median(np.linalg.norm(p - q, axis=1)) > 4
