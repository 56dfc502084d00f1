"""Abdominal CT between patients, in the layout of Learn2Reg's AbdomenCTCT."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regbench.api import Card, Protocol, Scan, Shape, Task
from regbench.data import read_protocols
from regbench.errors import DataError
from regbench_tasks.nested import first_below

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
        """The labelled scans: those in imagesTr and those that the dataset file lists, be they there or not."""
        faults: list[str] = []
        present = {file.name for file in (folder / "imagesTr").glob("[!.]*.nii.gz")}
        listed = _listed(folder / _LISTING, faults)
        if listed is not None:
            faults += [
                f"{folder / 'imagesTr' / name} is not among the training images of {_LISTING}; list it or take it out."
                for name in sorted(present - listed)
            ]
        names = sorted(present | (listed or set()))
        faults += [
            f"{folder / 'imagesTr' / name} has a name that is not expected; expected AbdomenCTCT_0001_0000.nii.gz."
            for name in names
            if not _NAME.fullmatch(name)
        ]
        found = {match[1]: _scan(folder, match[1]) for match in map(_NAME.fullmatch, names) if match}
        if not found:
            deeper = first_below(folder, "imagesTr")
            hint = f"; there is such a folder in {deeper.parent}: give that" if deeper else ""
            faults.append(f"{folder} has no scans: expected imagesTr/AbdomenCTCT_0001_0000.nii.gz and so on{hint}.")
        if faults:
            raise DataError(faults, found)
        return found

    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write synthetic patients."""
        from regbench_tasks.phantom.abdomen import write  # the generator is needed only where a cohort is made

        write(folder, cases=cases, seed=seed, shape=shape)


def _scan(folder: Path, case: str) -> Scan:
    name = f"AbdomenCTCT_{case}_0000"
    landmarks = folder / "landmarksTr" / f"{name}.csv"
    return Scan(
        id=case,
        image=folder / "imagesTr" / f"{name}.nii.gz",
        labels=folder / "labelsTr" / f"{name}.nii.gz",
        landmarks=landmarks if landmarks.exists() else None,
    )


def _listed(path: Path, faults: list[str]) -> set[str] | None:
    """The file names of the training images that the dataset file lists; None where it lists nothing that is usable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        faults.append(f"{path} is missing; it comes with the scans.")
        return None
    except (OSError, ValueError, RecursionError) as error:
        faults.append(f"{path} is no readable JSON file: {error}.")
        return None
    try:
        training = [Path(entry["image"]).name for entry in content["training"]]
        test = [entry["image"] if isinstance(entry, dict) else entry for entry in content.get("test", [])]
        pairs = [(Path(pair["fixed"]).name, Path(pair["moving"]).name) for pair in content.get("registration_val", [])]
    except (TypeError, KeyError, AttributeError) as error:
        faults.append(f"{path} has an unexpected form ({error!r}); expected the lists training and registration_val.")
        return None
    faults += _contradictions(path, training, {Path(name).name for name in test}, pairs)
    return set(training)


def _contradictions(path: Path, training: list[str], held_out: set[str], pairs: list[tuple[str, str]]) -> list[str]:
    """What the dataset file says that cannot be."""
    twice = sorted({name for name in training if training.count(name) > 1})
    strangers = sorted({name for pair in pairs for name in pair} - set(training))
    same = sorted({fixed for fixed, moving in pairs if fixed == moving})
    return [
        *(f"{path} lists {name} twice in training." for name in twice),
        *(f"{path} lists {name} in both training and test." for name in sorted(held_out & set(training))),
        *(f"{path} names {name} in registration_val, which training does not list." for name in strangers),
        *(f"{path} pairs {name} with itself in registration_val." for name in same),
    ]
