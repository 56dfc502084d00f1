"""Cine cardiac MR of one patient, end-diastole and end-systole, in the layout of the ACDC release."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regbench.api import Card, Protocol, Scan, Shape, Task
from regbench.data import read_protocols
from regbench.errors import DataError
from regbench_tasks.nested import first_below


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
        parents = (folder, folder / "training", folder / "testing")
        faults: list[str] = _split_faults(folder / "split.json")
        found: dict[str, Scan] = {}
        for patient in sorted(path for parent in parents for path in parent.glob("patient*") if path.is_dir()):
            frames = _frames(patient / "Info.cfg", faults)
            scans = {f"{patient.name}/{phase}": _scan(patient, phase, frame) for phase, frame in frames.items()}
            if found.keys() & scans.keys():
                faults.append(f"{patient} is there twice: {patient.name} is in both train and test of the release.")
            found |= scans
        if not found:
            faults.append(
                f"{folder} has no patients: expected patient001/Info.cfg and so on, or training/patient001"
                f"{_deeper(folder)}."
            )
        if faults:
            raise DataError(faults, found)
        return found

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write synthetic patients."""
        from regbench_tasks.phantom.cardiac import write  # the generator is needed only where a cohort is made

        write(folder, cases=cases, seed=seed, shape=shape)


def _deeper(folder: Path) -> str:
    """Where patients lie further down, as an unpacked archive may have them, as the end of a sentence."""
    first = first_below(folder, "patient*/Info.cfg")
    if first is None:
        return ""
    above = first.parents[1]
    return f"; there are some in {above.parent if above.name in {'training', 'testing'} else above}: give that folder"


def _frames(path: Path, faults: list[str]) -> dict[str, int]:
    """Phase → number of its frame, from a patient's Info.cfg."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        fields = dict(line.partition(":")[::2] for line in text.splitlines())
    except FileNotFoundError:
        faults.append(f"{path} is missing; it says which frames are end-diastole and end-systole.")
        return {}
    except OSError as error:
        faults.append(f"{path} cannot be read: {error}.")
        return {}
    frames = {phase: fields.get(phase, "").strip() for phase in ("ED", "ES")}
    for phase, number in frames.items():
        if not number.isdecimal():
            faults.append(f"{path} has no frame number for {phase} ({number!r}); expected a line like '{phase}: 1'.")
    usable = {phase: int(number) for phase, number in frames.items() if number.isdecimal()}
    if len(usable) == 2 and usable["ED"] == usable["ES"]:
        faults.append(
            f"{path} gives frame {usable['ED']} for both ED and ES; correct the wrong one: the names of the label maps "
            "hold both numbers."
        )
    return usable


def _split_faults(path: Path) -> list[str]:
    """Contradictions of a split.json, which is not part of the official layout but may lie beside the patients."""
    if not path.exists():
        return []
    try:
        sides = {name: list(patients) for name, patients in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return [f"{path} is no readable split: {error}; expected lists of patients by name."]
    owners: dict[str, list[str]] = {}
    for name, patients in sides.items():
        for patient in patients:
            owners.setdefault(str(patient), []).append(name)
    return [
        f"{path} puts {patient} in both {' and '.join(names)}; a patient may stand on one side only."
        for patient, names in owners.items()
        if len(names) > 1
    ]


def _scan(patient: Path, phase: str, frame: int) -> Scan:
    stem = f"{patient.name}_frame{frame:02d}"
    landmarks = patient / f"{stem}_landmarks.csv"
    return Scan(
        id=f"{patient.name}/{phase}",
        image=patient / f"{stem}.nii.gz",
        labels=patient / f"{stem}_gt.nii.gz",
        landmarks=landmarks if landmarks.exists() else None,
    )
