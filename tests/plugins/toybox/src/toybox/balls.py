"""A task: balls that lie elsewhere in each scan."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from regbench.api import Card, Crop, Grid, PairId, Protocol, Scan, Shape, Task, Volume, Window
from regbench.data import write_volume
from regbench.errors import DataError

SPACING_MM = (1.0, 1.0, 2.0)
CASES = tuple(f"c{n}" for n in range(1, 7))
TRAIN, TEST = CASES[:3], CASES[3:]


@dataclass(frozen=True)
class Balls(Task):
    """Two balls, one in the other.

    Attributes:
        core: the inner ball's radius, as a part of the scan's shortest side.
    """

    card: ClassVar[Card] = Card(
        title="Balls",
        summary="A bright ball with a core, somewhere else in each scan.",
        citation="@misc{balls, title = {Balls}, year = {2025}}",
    )
    modality: ClassVar[str] = "ct"
    default_protocol: ClassVar[str] = "all"

    core: float = 0.12

    def protocols(self) -> Mapping[str, Protocol]:
        """Three cases on each side."""
        return {name: _protocol(name) for name in ("all", "phantom")}

    def scans(self, folder: Path) -> Mapping[str, Scan]:
        """CASE.nii.gz with CASE_labels.nii.gz and, if it is there, CASE_landmarks.csv."""
        cases = [m[1] for file in sorted(folder.glob("*.nii.gz")) if (m := re.fullmatch(r"(c\d)\.nii\.gz", file.name))]
        if not cases:
            raise DataError([f"{folder} has no scans: expected c1.nii.gz and so on."])
        return {case: _scan(folder, case) for case in cases}

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Balls at random places."""
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        grid = Grid.centred(shape, SPACING_MM)
        places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * SPACING_MM
        extent = np.array(shape) * SPACING_MM
        for case in range(1, cases + 1):
            middle = extent / 2 + rng.uniform(-0.1, 0.1, 3) * extent
            distance = np.linalg.norm(places - middle, axis=-1) / extent.min()
            labels = np.where(distance < self.core, 2, np.where(distance < 0.25, 1, 0)).astype(np.uint8)
            image = 0.6 * np.exp(-((distance / 0.25) ** 4)) + 0.4 * np.exp(-((distance / 0.12) ** 4))
            write_volume(folder / f"c{case}.nii.gz", Volume(torch.from_numpy(image).float(), grid))
            write_volume(folder / f"c{case}_labels.nii.gz", Volume(torch.from_numpy(labels), grid))
            x, y, z = grid.to_world((middle / SPACING_MM)[None])[0]
            (folder / f"c{case}_landmarks.csv").write_text(f"name,x,y,z\nmiddle,{x},{y},{z}\n")


def _scan(folder: Path, case: str) -> Scan:
    landmarks = folder / f"{case}_landmarks.csv"
    return Scan(
        id=case,
        image=folder / f"{case}.nii.gz",
        labels=folder / f"{case}_labels.nii.gz",
        landmarks=landmarks if landmarks.exists() else None,
    )


def _protocol(name: str) -> Protocol:
    return Protocol(
        task="balls",
        name=name,
        revision=1,
        title="Balls, every pair",
        train=TRAIN,
        test=TEST,
        train_pairs=tuple(PairId(a, b) for a, b in combinations(TRAIN, 2)),
        validation_pairs=(PairId(*TRAIN[:2]),),
        test_pairs=tuple(PairId(a, b) for a, b in combinations(TEST, 2)),
        labels={1: "ball", 2: "core"},
        grid=Crop(shape=(24, 20, 16), spacing_mm=SPACING_MM),
        quick_shape=(24, 20, 16),
        intensity=Window(low=0, high=1),
        notes=("Nobody learns anything from this.",),
    )
