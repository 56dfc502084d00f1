"""SAT, a foundation model prompted by text: drives a user's own checkout and weights."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from regbench.api import Card, MaskRequest, MaskSource, Volume
from regbench.data import read_volume, write_text, write_volume
from regbench.errors import BadValueError, RunError
from regbench.masks.sat_output import Finding, is_complete, read_finding
from regbench.spatial import resample

_DATASET = "regbench"
_COMPLAINTS = {
    "out of memory": "the GPU has too little memory; --set masks.batch_size=1 needs about 24 GB with SAT-Nano",
    "Error(s) in loading state_dict": "the weights do not fit the checkout: weights and code of one generation are "
    "needed (those of January 2024 do not load in the code since May 2024), and `backbone` must be theirs",
    "No module named": "its environment lacks a package; give its interpreter by --set masks.python=FILE",
    "CUDA": "it found no usable GPU, and SAT runs on nothing else",
}


@dataclass(frozen=True)
class Sat(MaskSource):
    """Segmentation by text prompts, the structures' names, with SAT (Zhao et al.).

    Attributes:
        checkout: folder of the official code.
        checkpoint: weights of the segmentation network, fetched by the user.
        text_checkpoint: weights of the text encoder.
        backbone: "UNET" is SAT-Nano, "UNET-L" is SAT-Pro.
        python: the interpreter of SAT's own environment; none: the one that runs regbench.
        batch_size: image patches a step.
        prompts: structure's name → prompt, where the two differ.
    """

    card: ClassVar[Card] = Card(
        title="SAT",
        summary="Masks by SAT, a foundation model prompted by text, from the user's own checkout and weights.",
        citation="""@misc{zhao2025sat,
  title = {Large-Vocabulary Segmentation for Medical Images with Text Prompts},
  author = {Zhao, Ziheng and Zhang, Yao and Wu, Chaoyi and Zhang, Xiaoman and Zhou, Xiao and Zhang, Ya and Wang, Yanfeng
            and Xie, Weidi},
  year = {2025}, eprint = {2312.17183}, archivePrefix = {arXiv}
}""",
        origin="zhaoziheng/SAT; weights zzh99/SAT",
        licence="none stated in the repository; nothing of it is part of regbench",
        differs=(
            "Where two structures claim a voxel, the smaller one gets it; SAT's own merged map adds their numbers.",
        ),
        trained_on="72 public data sets, BTCV and ACDC with their labels among them: it may have seen the test scans.",
    )
    saw_test_images: ClassVar[bool] = True
    saw_test_labels: ClassVar[bool] = False

    checkout: Path | None = None
    checkpoint: Path | None = None
    text_checkpoint: Path | None = None
    backbone: Literal["UNET", "UNET-L"] = "UNET"
    python: Path | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1
    prompts: Mapping[str, str] | None = None

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Run SAT on the scans that it has not done yet, and bring its masks to the scans' grids.

        Raises:
            BadValueError: if the checkout or the weights are not there.
            RunError: if SAT fails, or writes something else than is expected of it.
        """
        self._check()
        inputs, results = request.workspace / "inputs", request.workspace / self._results()
        prompts = self._prompts(request.labels)
        names = {scan: scan.replace("/", "_") for scan in request.scans}
        missing = [s for s, name in names.items() if not is_complete(results / _DATASET, name, prompts.values())]
        if missing:
            for scan in missing:
                write_volume(inputs / f"{names[scan]}.nii.gz", read_volume(request.sources[scan]))
            listing = self._listing(request, [inputs / f"{names[scan]}.nii.gz" for scan in missing], prompts)
            self._run(listing, results)
        return {
            scan: _on_grid(
                read_finding(results / _DATASET, inputs / f"{name}.nii.gz", prompts, request.modality),
                request.scans[scan],
            )
            for scan, name in names.items()
        }

    def _check(self) -> None:
        for field, kind in (("checkout", "folder"), ("checkpoint", "file"), ("text_checkpoint", "file")):
            path = getattr(self, field)
            if path is None:
                raise BadValueError(f"The mask source 'sat' needs its {field}: add --set masks.{field}=PATH.")
            if not (path.is_dir() if kind == "folder" else path.is_file()):
                raise BadValueError(f"The {field} of the mask source 'sat' is no {kind}: {path}.")
        assert self.checkout is not None  # noqa: S101 - checked above
        if not (self.checkout / "inference.py").is_file():
            raise BadValueError(f"{self.checkout} is no checkout of SAT: it holds no inference.py.")

    def _results(self) -> str:
        """A folder of its own for each set of weights and prompts, so that nothing stale is taken for done."""
        assert self.checkpoint is not None  # noqa: S101 - checked before
        assert self.text_checkpoint is not None  # noqa: S101
        stamps = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in (self.checkpoint, self.text_checkpoint)]
        key = json.dumps([stamps, self.backbone, self.prompts and dict(self.prompts)])
        return f"results-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def _prompts(self, labels: Mapping[int, str]) -> dict[int, str]:
        own = {**_SAT_NAMES, **(self.prompts or {})}
        return {label: own.get(name, name).lower() for label, name in labels.items()}

    def _listing(self, request: MaskRequest, images: Sequence[Path], prompts: Mapping[int, str]) -> Path:
        modality = "mri" if request.modality == "mr" else request.modality
        lines = [
            json.dumps(
                {"image": str(image.resolve()), "label": list(prompts.values()), "modality": modality,
                 "dataset": _DATASET, "orientation_code": "RAS"}
            )
            for image in images
        ]  # fmt: skip
        path = request.workspace / "scans.jsonl"
        write_text(path, "\n".join(lines) + "\n")
        return path

    def _run(self, listing: Path, results: Path) -> None:
        assert self.checkpoint is not None  # noqa: S101 - checked before
        assert self.text_checkpoint is not None  # noqa: S101
        results.mkdir(parents=True, exist_ok=True)
        command = [
            str(self.python or sys.executable), "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1",
            "inference.py", "--rcd_dir", str(results.resolve()), "--datasets_jsonl", str(listing.resolve()),
            "--vision_backbone", self.backbone, "--checkpoint", str(self.checkpoint.resolve()),
            "--text_encoder", "ours", "--text_encoder_checkpoint", str(self.text_checkpoint.resolve()),
            "--max_queries", "256", "--batchsize_3d", str(self.batch_size),
        ]  # fmt: skip
        log = results / "sat.log"
        try:
            with log.open("w") as output:
                code = subprocess.run(  # noqa: S603 - the user's own program, as configured
                    command, cwd=self.checkout, stdout=output, stderr=subprocess.STDOUT, check=False
                ).returncode
        except OSError as error:
            raise RunError(f"SAT cannot be started with {command[0]}: {error.strerror}.") from error
        if code != 0:
            raise RunError(f"SAT ended with status {code}: {_complaint(log)} (see {log}).")


# What SAT calls the structures that the tasks call otherwise.
_SAT_NAMES = {
    "portal and splenic vein": "portal vein and splenic vein",
    "left ventricle": "left heart ventricle",
    "right ventricle": "right heart ventricle",
}


def _complaint(log: Path) -> str:
    text = log.read_text(errors="replace")
    for sign, meaning in _COMPLAINTS.items():
        if sign in text:
            return meaning
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def _on_grid(finding: Finding, scan: Volume) -> Volume:
    """The classes of one scan on its grid; where several claim a voxel, the smallest of them gets it."""
    merged = torch.zeros(finding.grid.shape, dtype=torch.uint8)
    by_size = sorted(finding.masks.items(), key=lambda item: int(item[1].sum()), reverse=True)
    for label, mask in by_size:
        merged[mask] = label
    return Volume(resample(merged, finding.grid, scan.grid, mode="nearest").to(scan.data.device), scan.grid)
