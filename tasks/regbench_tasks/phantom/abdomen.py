"""The abdominal cohort: CT scans of different patients, of whom any two correspond by a known smooth invertible map."""

import json
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from regbench.api import Grid
from regbench_tasks.phantom.abdomen_organs import LABELS, ORGANS
from regbench_tasks.phantom.abdomen_patient import BOX_MM, VERSION, anatomy_map, look
from regbench_tasks.phantom.abdomen_scan import scan
from regbench_tasks.phantom.files import inside, write_landmarks, write_nifti
from regbench_tasks.phantom.landmarks import organ_points

POINTS_PER_ORGAN = 40


def case_id(case: int) -> str:
    """The scan id of case 1, 2, …: four digits."""
    return f"{case:04d}"


def grid_of(shape: tuple[int, int, int]) -> Grid:
    """The grid of `shape` voxels that fills the cohort's box of 384 × 320 × 512 mm."""
    return Grid.centred(shape, [b / n for b, n in zip(BOX_MM, shape, strict=True)])


def write(folder: Path, *, cases: int, seed: int, shape: tuple[int, int, int]) -> None:
    """Write a cohort in the layout of Learn2Reg's AbdomenCTCT, with landmarks; case n does not depend on `cases`.

    Args:
        folder: made if it is not there.
        cases: number of patients; ids 0001, 0002, …
        seed: another seed gives other patients.
        shape: voxels along x (right), y (front), z (up) of the box.
    """
    grid = grid_of(shape)
    for case in range(1, cases + 1):
        name = f"AbdomenCTCT_{case_id(case)}_0000"
        image, labels = scan(seed, case, grid)
        write_nifti(folder / "imagesTr" / f"{name}.nii.gz", image, grid)
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", labels, grid)
        write_landmarks(folder / "landmarksTr" / f"{name}.csv", landmarks(seed=seed, case=case, grid=grid))
    listing = json.dumps(_listing(cases, shape), indent=1)
    (folder / "AbdomenCTCT_dataset.json").write_text(listing + "\n", encoding="utf-8", newline="\n")


def landmarks(*, seed: int, case: int, grid: Grid) -> dict[str, Float64[np.ndarray, "3"]]:
    """Named points of the organs that lie within the grid, in mm (RAS+)."""
    names, points = _anatomical_points()
    placed = anatomy_map(seed, case).inverse_at(points)
    gallbladder = look(seed, case).gallbladder
    return {
        name: point
        for name, point, within in zip(names, placed, inside(placed, grid), strict=True)
        if within and (gallbladder or not name.startswith("gallbladder"))
    }


def true_field(*, seed: int, shape: tuple[int, int, int], fixed: str, moving: str) -> Float32[np.ndarray, "3 i j k"]:
    """The displacement from one case to another, in voxels of the fixed grid: moved(x) = moving(x + u(x)).

    Args:
        seed: the cohort's.
        shape: voxels of the box.
        fixed: a case id such as "0001".
        moving: another.
    """
    grid = grid_of(shape)
    anatomy = anatomy_map(seed, int(fixed)).on_grid(grid).reshape(3, -1).T.astype(np.float64)
    target = anatomy_map(seed, int(moving)).inverse_at(anatomy)
    index = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3)
    return (grid.to_index(target) - index).T.reshape(3, *shape).astype(np.float32)


@cache
def _anatomical_points() -> tuple[tuple[str, ...], Float64[np.ndarray, "n 3"]]:
    names, points = [], []
    for number, name in sorted(LABELS.items()):
        order = list(ORGANS)
        covering = [ORGANS[later] for later in order[order.index(name) + 1 :]]
        found = organ_points(ORGANS[name], covering, POINTS_PER_ORGAN, key=(VERSION, number))
        names += [f"{name} {n + 1}" for n in range(len(found))]
        points.append(found)
    return tuple(names), np.concatenate(points)


def _listing(cases: int, shape: tuple[int, int, int]) -> dict[str, object]:
    ids = [case_id(case) for case in range(1, cases + 1)]
    files = [
        {
            "image": f"./imagesTr/AbdomenCTCT_{i}_0000.nii.gz",
            "label": f"./labelsTr/AbdomenCTCT_{i}_0000.nii.gz",
        }
        for i in ids
    ]
    held_out = [f["image"] for f in files[::3]]
    pairs = [{"fixed": f, "moving": m} for n, f in enumerate(held_out) for m in held_out[n + 1 :]]
    return {
        "name": "AbdomenCTCT",
        "release": f"phantom {VERSION}",
        "description": "Synthetic abdominal CT made by regbench, in the layout of Learn2Reg's AbdomenCTCT.",
        "licence": "Apache-2.0",
        "pairings": "unpaired",
        "provided_data": {"0": ["image", "label"]},
        "modality": {"0": "CT"},
        "labels": {"0": {"0": "background", **{str(n): name for n, name in sorted(LABELS.items())}}},
        "tensorImageSize": {"0": "3D"},
        "tensorImageShape": {"0": list(shape)},
        "numTraining": cases,
        "numTest": 0,
        "training": files,
        "registration_val": pairs,
    }
