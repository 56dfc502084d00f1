"""Abdominal CT between patients, in the layout of Learn2Reg's AbdomenCTCT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regbench.api import Card, Protocol, Scan, Shape, Task
from regbench.data import read_protocols
from regbench.errors import DataError

_LISTING = "AbdomenCTCT_dataset.json"
_NAME = re.compile(r"AbdomenCTCT_(\d{4})_0000\.nii\.gz")


@dataclass(frozen=True)
class Abdomen(Task):
    """Registration of one patient's abdominal CT to another's."""

    card: ClassVar[Card] = Card(
        title="Abdomen CT",
        summary="Abdominal CT of one patient to that of another, portal venous phase, 13 organs labelled by hand.",
        citation="""@misc{landman2015btcv,
  author = {Landman, Bennett and Xu, Zhoubing and Iglesias, Juan Eugenio and Styner, Martin and Langerak, Thomas Robin
            and Klein, Arno},
  title = {{MICCAI} Multi-Atlas Labeling Beyond the Cranial Vault: Workshop and Challenge},
  year = {2015}, note = {Synapse syn3193805}
}
@article{hering2023learn2reg,
  author = {Hering, Alessa and others},
  title = {{Learn2Reg}: Comprehensive Multi-Task Medical Image Registration Challenge, Dataset and Evaluation in the Era
           of Deep Learning},
  journal = {IEEE Transactions on Medical Imaging}, volume = {42}, number = {3}, pages = {697--712}, year = {2023}
}""",
        origin="Learn2Reg, task AbdomenCTCT: 30 labelled scans of the BTCV set, affinely pre-aligned",
        licence="set by the owners of the scans; nothing of them is part of regbench",
    )
    modality: ClassVar[str] = "ct"
    default_protocol: ClassVar[str] = "ipmi25"

    def protocols(self) -> Mapping[str, Protocol]:
        """Every protocol by name."""
        return read_protocols("regbench_tasks", "abdomen")

    def scans(self, folder: Path) -> Mapping[str, Scan]:
        """The labelled scans: what the folder holds, and what its dataset file lists."""
        files = [f"./imagesTr/{file.name}" for file in folder.glob("imagesTr/*.nii.gz")]
        if not files:
            raise DataError([f"{folder} holds no imagesTr/AbdomenCTCT_0001_0000.nii.gz and so on."])
        found = {}
        for name in sorted(files):
            match = _NAME.fullmatch(Path(name).name)
            if match:
                found[match[1]] = _scan(folder, match[1])
        return found

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write synthetic patients."""
        from regbench_tasks.phantom import abdomen  # the generator is needed only where a cohort is made

        abdomen.write(folder, cases=cases, seed=seed, shape=shape)


def _scan(folder: Path, case: str) -> Scan:
    name = f"AbdomenCTCT_{case}_0000"
    landmarks = folder / "landmarksTr" / f"{name}.csv"
    return Scan(
        id=case,
        image=folder / "imagesTr" / f"{name}.nii.gz",
        labels=folder / "labelsTr" / f"{name}.nii.gz",
        landmarks=landmarks if landmarks.exists() else None,
    )
