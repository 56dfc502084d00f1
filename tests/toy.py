"""Tiny synthetic cohorts: blobs in the official layouts, so that tests depend on no phantom generator."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from regbench.api import Card, Crop, Grid, PairId, Protocol, Scan, Shape, Task, Volume, Window
from regbench.data import Cohort, Points, write_volume

SHAPE = (24, 20, 28)
SPACING_MM = (3.0, 4.0, 2.5)


def protocol(shape: Shape = SHAPE) -> Protocol:
    """Two cases for training, two for test, three labels, every pair in both directions."""
    return Protocol(
        task="toy",
        name="phantom",
        revision=1,
        title="Toy blobs",
        train=("0002", "0003"),
        test=("0001", "0004"),
        train_pairs=(PairId("0002", "0003"), PairId("0003", "0002")),
        validation_pairs=(PairId("0003", "0002"),),
        test_pairs=(PairId("0001", "0004"), PairId("0004", "0001")),
        labels={1: "north", 2: "south", 3: "middle"},
        grid=Crop(shape=SHAPE, spacing_mm=SPACING_MM).at(shape),
        quick_shape=(12, 10, 14),
        intensity=Window(low=-500, high=1000),
        notes=("Blobs, not scans.",),
    )


@dataclass(frozen=True)
class Blobs:
    """One case: a scan in HU-like units, its label map, and the blobs' centres in voxels."""

    image: np.ndarray
    labels: np.ndarray
    centres: np.ndarray


def blobs(case: int, labels: int = 3, shape: Shape = SHAPE, seed: int = 0, swell: float = 1.0) -> Blobs:
    """Ellipsoids on a lattice, each case with its own jitter; every label has voxels."""
    random = np.random.default_rng((seed, case))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    size = np.array(shape)
    per_axis = int(np.ceil(labels ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(per_axis)] * 3, indexing="ij"), -1).reshape(-1, 3)[:labels]
    centres = (0.2 + 0.6 * (lattice + 0.5) / per_axis) * (size - 1) + random.uniform(-0.03, 0.03, (labels, 3)) * size
    body = (((index - (size - 1) / 2) / (0.48 * size)) ** 2).sum(-1) < 1
    image = np.where(body, 0.0, -900.0)
    numbers = np.zeros(shape, np.uint8)
    for number, centre in enumerate(centres, start=1):
        radius = swell * 0.55 * size / per_axis / 2 * random.uniform(0.8, 1.1, 3)
        inside = (((index - centre) / np.maximum(radius, 0.9)) ** 2).sum(-1) < 1
        inside[tuple(np.round(centre).astype(int))] = True
        image[inside], numbers[inside] = 60.0 * number, number
    image += random.normal(0, 8, shape)
    return Blobs(image.round().astype(np.float32), numbers, centres)


def cohort() -> Cohort:
    """The toy protocol's four cases in memory, with true labels and landmarks, without masks."""
    rule = protocol()
    grid = Grid.centred(SHAPE, SPACING_MM)
    cases = [blobs(int(scan)) for scan in rule.train + rule.test]
    images = np.stack([np.clip((case.image + 500) / 1500, 0, 1) for case in cases])
    names = ("a", "b", "c")
    return Cohort(
        protocol=rule,
        ids=rule.train + rule.test,
        images=torch.from_numpy(images.astype(np.float32))[:, None],
        labels=torch.from_numpy(np.stack([case.labels for case in cases]))[:, None],
        grids=(grid,) * len(cases),
        landmarks={
            scan: Points(names, torch.from_numpy(case.centres).float())
            for scan, case in zip(rule.train + rule.test, cases, strict=True)
        },
        fingerprint="toy",
    )


def write_abdomen(
    folder: Path, cases: int, labels: int = 13, shape: Shape = SHAPE, spacing_mm: tuple[float, ...] = SPACING_MM
) -> Path:
    """Blobs as Learn2Reg's AbdomenCTCT, landmarks included; test pairs are those of every third case."""
    grid = Grid.centred(shape, spacing_mm)
    names = [f"AbdomenCTCT_{case:04d}_0000" for case in range(1, cases + 1)]
    for case, name in enumerate(names, start=1):
        made = blobs(case, labels, shape)
        write_volume(folder / "imagesTr" / f"{name}.nii.gz", Volume(_int16(made.image), grid))
        write_volume(folder / "labelsTr" / f"{name}.nii.gz", Volume(torch.from_numpy(made.labels), grid))
        write_landmarks(folder / "landmarksTr" / f"{name}.csv", grid.to_world(made.centres))
    chosen = names[::3]
    listing = {
        "name": "AbdomenCTCT",
        "labels": {"0": {str(number): str(number) for number in range(labels + 1)}},
        "tensorImageShape": {"0": list(shape)},
        "numTraining": cases,
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names],
        "test": [],
        "registration_val": [
            {"fixed": f"./imagesTr/{a}.nii.gz", "moving": f"./imagesTr/{b}.nii.gz"}
            for n, a in enumerate(chosen)
            for b in chosen[n + 1 :]
        ],
    }
    (folder / "AbdomenCTCT_dataset.json").write_text(json.dumps(listing, indent=1))
    return folder


def write_acdc(folder: Path, patients: int, shape: Shape = (30, 26, 8)) -> Path:
    """Blobs as the ACDC release: the blobs are smaller at end-systole, which is frame 9."""
    grid = Grid(shape, np.diag([1.5, 1.5, 10.0, 1.0]))
    for number in range(1, patients + 1):
        patient = folder / f"patient{number:03d}"
        for frame, swell in ((1, 1.0), (9, 0.8)):
            stem = f"{patient.name}_frame{frame:02d}"
            made = blobs(number, 3, shape, seed=1, swell=swell)
            image = np.clip(made.image + 900, 0, None) * (0.5 + number / 10)
            write_volume(patient / f"{stem}.nii.gz", Volume(_int16(image), grid))
            write_volume(patient / f"{stem}_gt.nii.gz", Volume(torch.from_numpy(made.labels), grid))
            write_landmarks(patient / f"{stem}_landmarks.csv", grid.to_world(made.centres))
        lines = ("ED: 1", "ES: 9", "Group: NOR", "Height: 170.0", "NbFrame: 30", "Weight: 70.0")
        (patient / "Info.cfg").write_text("\n".join(lines) + "\n")
    return folder


def write_landmarks(path: Path, world: np.ndarray) -> None:
    """Points as a landmark file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "x", "y", "z"))
        writer.writerows((chr(ord("a") + row), *point) for row, point in enumerate(world.tolist()))


@dataclass(frozen=True)
class ToyTask(Task):
    """A task on toy blobs, for tests of what stands on tasks."""

    card: ClassVar[Card] = Card(title="Toy blobs", summary="Ellipsoids that moved.")
    modality: ClassVar[str] = "ct"
    default_protocol: ClassVar[str] = "phantom"

    def protocols(self) -> Mapping[str, Protocol]:
        """The toy protocol."""
        return {"phantom": protocol()}

    def scans(self, folder: Path) -> Mapping[str, Scan]:
        """Files as `phantom` writes them."""
        return {
            file.name[12:16]: Scan(
                file.name[12:16],
                file,
                folder / "labelsTr" / file.name,
                folder / "landmarksTr" / file.name.replace(".nii.gz", ".csv"),
            )
            for file in sorted(folder.glob("imagesTr/*.nii.gz"))
        }

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write blobs."""
        extent = np.array(SHAPE) * np.array(SPACING_MM)
        write_abdomen(folder, cases, 3, shape, tuple((extent / np.array(shape)).tolist()))


def _int16(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.round().astype(np.int16))
