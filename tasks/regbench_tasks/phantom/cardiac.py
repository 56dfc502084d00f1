"""The cardiac cohort: short-axis cine MR at end-diastole and end-systole, joined by a known contraction."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from regbench.api import Grid, patient_of
from regbench.errors import BadValueError
from regbench_tasks.phantom.cardiac_motion import contraction
from regbench_tasks.phantom.cardiac_patient import BOX_MM, VERSION, Heart, heart
from regbench_tasks.phantom.cardiac_scan import PHASES, scan
from regbench_tasks.phantom.files import inside, write_landmarks, write_nifti
from regbench_tasks.phantom.random_fields import stream
from regbench_tasks.phantom.shapes import single

FACTS = 5
LEVELS, ANGLES = 8, 20


def grid_of(shape: tuple[int, int, int]) -> Grid:
    """The grid of `shape` voxels that fills the cohort's box of 192 × 192 × 100.8 mm."""
    return Grid.centred(shape, [b / n for b, n in zip(BOX_MM, shape, strict=True)])


def write(folder: Path, *, cases: int, seed: int, shape: tuple[int, int, int]) -> None:
    """Write a cohort in the layout of the ACDC release, with landmarks; case n does not depend on `cases`.

    Args:
        folder: made if it is not there.
        cases: number of patients: patient001, patient002, …
        seed: another seed gives other patients.
        shape: voxels along x (right), y (front), z (towards the base of the heart) of the box.
    """
    grid = grid_of(shape)
    for case in range(1, cases + 1):
        name = f"patient{case:03d}"
        facts = info(seed, case)
        for phase in PHASES:
            stem = folder / name / f"{name}_frame{int(facts[phase]):02d}"
            image, labels = scan(seed, case, phase, grid)
            write_nifti(stem.with_name(f"{stem.name}.nii.gz"), image, grid)
            write_nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), labels, grid)
            points = landmarks(seed=seed, case=case, phase=phase, grid=grid)
            write_landmarks(stem.with_name(f"{stem.name}_landmarks.csv"), points)
        text = "".join(f"{key}: {value}\n" for key, value in facts.items())
        (folder / name / "Info.cfg").write_text(text, encoding="utf-8", newline="\n")


def info(seed: int, case: int) -> dict[str, str]:
    """What a patient's Info.cfg says."""
    rng = stream(VERSION, seed, case, FACTS)
    return {
        "ED": "1",
        "ES": str(int(rng.integers(8, 15))),
        "Group": heart(seed, case).group,
        "Height": f"{rng.normal(171, 9):.1f}",
        "NbFrame": str(int(rng.integers(24, 36))),
        "Weight": f"{rng.normal(75, 13):.1f}",
    }


def landmarks(*, seed: int, case: int, phase: str, grid: Grid) -> dict[str, Float64[np.ndarray, "3"]]:
    """Named points of the heart that lie within the grid, in mm (RAS+)."""
    named = _diastolic_points(heart(seed, case))
    points = np.stack(list(named.values()))
    if phase == "ES":
        points = contraction(seed, case).inverse_at(points)
    return {n: p for n, p, within in zip(named, points, inside(points, grid), strict=True) if within}


def true_field(*, seed: int, shape: tuple[int, int, int], fixed: str, moving: str) -> Float32[np.ndarray, "3 i j k"]:
    """The displacement between a patient's phases, in voxels of the fixed grid: moved(x) = moving(x + u(x)).

    Args:
        seed: the cohort's.
        shape: voxels of the box.
        fixed: a scan id such as "patient001/ES".
        moving: the same patient's other scan.

    Raises:
        BadValueError: if they are not the two scans of one patient.
    """
    if {fixed, moving} != {f"{patient_of(fixed)}/{phase}" for phase in PHASES}:
        raise BadValueError(f"The field is known between a patient's ED and ES, not between {fixed} and {moving}.")
    patient, _, phase = fixed.partition("/")
    grid = grid_of(shape)
    motion = contraction(seed, int(patient.removeprefix("patient")))
    index = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3).astype(np.float64)
    world = grid.to_world(index)
    target = motion.at(world) if phase == "ES" else motion.inverse_at(world)
    return (grid.to_index(target) - index).T.reshape(3, *shape).astype(np.float32)


def _diastolic_points(own: Heart) -> dict[str, Float64[np.ndarray, "3"]]:
    angles = single(own.right_angle + np.linspace(0, 2 * np.pi, ANGLES, endpoint=False))
    layers = {
        "endocardium": own.endocardium,
        "middle of the wall": lambda a, z: (own.endocardium(a, z) + own.epicardium(a, z)) / 2,
        "epicardium": own.epicardium,
    }
    found: dict[str, Float64[np.ndarray, 3]] = {}
    for level in range(LEVELS):
        z = np.full_like(angles, own.apex + (own.base - own.apex) * (level + 0.6) / LEVELS)
        for layer, radius in layers.items():
            found |= _ring(own, f"{layer} {level + 1}", angles, radius(angles, z), z)
        right, outer = own.right_wall(angles, z), own.epicardium(angles, z)
        wide = right - outer > 4
        found |= _ring(own, f"right ventricle {level + 1}", angles[wide], right[wide], z[wide])
    return found


def _ring(
    own: Heart, name: str, angles: np.ndarray, radii: np.ndarray, z: np.ndarray
) -> dict[str, Float64[np.ndarray, "3"]]:
    local = np.stack([radii * np.cos(angles), radii * np.sin(angles), z], axis=1).astype(np.float64)
    world = local @ own.axes.T + np.asarray(own.centre)
    return {f"{name}.{n + 1}": point for n, point in enumerate(world)}
