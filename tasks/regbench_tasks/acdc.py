"""Cine cardiac MR of one patient, end-diastole and end-systole, in the layout of the ACDC release."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regbench.api import Card, Protocol, Scan, Shape, Task
from regbench.data import read_protocols
from regbench.errors import DataError


@dataclass(frozen=True)
class Acdc(Task):
    """Registration of a patient's heart at end-diastole to the same heart at end-systole."""

    card: ClassVar[Card] = Card(
        title="ACDC cardiac MR",
        summary="Short-axis cine MR of one heart at end-diastole and end-systole, ventricles and myocardium labelled.",
        citation="""@article{bernard2018acdc,
  author = {Bernard, Olivier and Lalande, Alain and Zotti, Clement and Cervenansky, Frederick and others},
  title = {Deep Learning Techniques for Automatic {MRI} Cardiac Multi-structures Segmentation and Diagnosis: Is the
           Problem Solved?},
  journal = {IEEE Transactions on Medical Imaging}, volume = {37}, number = {11}, pages = {2514--2525}, year = {2018},
  doi = {10.1109/TMI.2018.2837502}
}""",
        origin="the Automated Cardiac Diagnosis Challenge, MICCAI 2017",
        licence="set by the owners of the scans; nothing of them is part of regbench",
    )
    modality: ClassVar[str] = "mr"
    default_protocol: ClassVar[str] = "ipmi25"

    def protocols(self) -> Mapping[str, Protocol]:
        """Every protocol by name."""
        return read_protocols("regbench_tasks", "acdc")

    def scans(self, folder: Path) -> Mapping[str, Scan]:
        """Both frames of every patient; patients lie in the folder itself, or in training/ and testing/."""
        patients = sorted(
            patient
            for parent in (folder, folder / "training", folder / "testing")
            for patient in parent.glob("patient*")
        )
        if not patients:
            raise DataError([f"{folder} holds no patient001/Info.cfg and so on."])
        found = {}
        for patient in patients:
            info = dict(re.findall(r"(\w+)\s*:\s*(\S+)", (patient / "Info.cfg").read_text()))
            for phase in ("ED", "ES"):
                scan = _scan(patient, phase, int(info[phase]))
                found[scan.id] = scan
        return found

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write synthetic patients."""
        from regbench_tasks.phantom import cardiac  # the generator is needed only where a cohort is made

        cardiac.write(folder, cases=cases, seed=seed, shape=shape)


def _scan(patient: Path, phase: str, frame: int) -> Scan:
    stem = f"{patient.name}_frame{frame:02d}"
    landmarks = patient / f"{stem}_landmarks.csv"
    return Scan(
        id=f"{patient.name}/{phase}",
        image=patient / f"{stem}.nii.gz",
        labels=patient / f"{stem}_gt.nii.gz",
        landmarks=landmarks if landmarks.exists() else None,
    )
