"""The driver of SAT against a stand-in that reads and writes exactly what the official program does."""

import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regbench.api import Grid, MaskRequest, Squeeze, Volume
from regbench.data import write_volume
from regbench.errors import BadValueError, RunError
from regbench.masks.sat import Sat
from regbench.spatial import resample

STAND_IN = """
import argparse, json, os, sys
from pathlib import Path
import numpy as np
if Path("fault").exists():
    print(Path("fault").read_text())
    sys.exit(1)
import nibabel as nib
from monai.transforms import Compose, CropForegroundd, EnsureChannelFirstd, LoadImaged, Orientationd, Spacingd
parser = argparse.ArgumentParser()
for name in ("rcd_dir", "datasets_jsonl", "vision_backbone", "checkpoint", "text_encoder", "text_encoder_checkpoint",
             "max_queries", "batchsize_3d"):
    parser.add_argument(f"--{name}", required=True)
given = parser.parse_args()
assert Path(given.checkpoint).is_file() and Path(given.text_encoder_checkpoint).is_file()
windows = {"liver": (40, 80), "left kidney": (140, 200), "portal vein and splenic vein": (70, 110)}
for line in Path(given.datasets_jsonl).read_text().splitlines():
    with open("calls", "a") as calls:
        calls.write(line + "\\n")
    datum = json.loads(line)
    load = Compose([
        LoadImaged(keys=["image"]), EnsureChannelFirstd(keys=["image"]),
        Orientationd(axcodes=datum["orientation_code"], keys=["image"], labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        Spacingd(keys=["image"], pixdim=(1, 1, 3), mode=("bilinear",)),
        CropForegroundd(keys=["image"], source_key="image"),
    ])
    image = np.asarray(load({"image": datum["image"]})["image"])[0]
    name = Path(datum["image"]).name.replace(".nii.gz", "")
    folder = Path(given.rcd_dir) / datum["dataset"]
    (folder / f"seg_{name}").mkdir(parents=True, exist_ok=True)
    merged = np.zeros(image.shape)
    for number, label in enumerate(datum["label"], start=1):
        low, high = windows[label]
        mask = ((image > low) & (image < high)).astype(float)
        merged += number * mask
        if not Path("forget").exists() or label != "liver":
            nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / f"seg_{name}" / f"{label}.nii.gz")
    nib.save(nib.Nifti1Image(merged, np.eye(4)), folder / f"seg_{name}.nii.gz")
    clipped = np.clip(image, -500, 1000)
    if Path("shift").exists():
        clipped = np.roll(clipped, 6, 0)
    standard = (clipped - clipped.mean()) / clipped.std()
    nib.save(nib.Nifti1Image(standard.astype(np.float32), np.eye(4)), folder / f"img_{name}.nii.gz")
"""

GRID = Grid((30, 28, 20), np.array([[-2.0, 0, 0, 28], [0, 2.0, 0, -27], [0, 0, 3.0, -30], [0, 0, 0, 1]]))
LABELS = {2: "liver", 3: "left kidney", 10: "portal and splenic vein"}


def scan() -> torch.Tensor:
    hu = torch.full(GRID.shape, -800.0)
    hu[2:26, 3:25, 2:18] = 10.0
    hu[6:14, 8:18, 5:14] = 60.0
    hu[18:23, 8:16, 6:14] = 170.0
    hu[8:11, 12:14, 7:11] = 75.0  # claimed by the liver as well
    return hu


@pytest.fixture
def sat(tmp_path: Path) -> Sat:
    checkout = tmp_path / "SAT"
    checkout.mkdir()
    (checkout / "inference.py").write_text(STAND_IN)
    for name in ("nano.pth", "text.pth"):
        (tmp_path / name).write_bytes(b"weights")
    # The launcher of the official program only starts it; here an interpreter that skips it, to save its start-up.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 4\nexec {sys.executable} -W ignore "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return Sat(
        checkout=checkout, checkpoint=tmp_path / "nano.pth", text_checkpoint=tmp_path / "text.pth", python=python
    )


@pytest.fixture
def request_(tmp_path: Path) -> MaskRequest:
    source = tmp_path / "scans" / "image.nii.gz"
    write_volume(source, Volume(scan(), GRID))
    return MaskRequest(
        scans={"p1/ED": Volume(torch.zeros(GRID.shape), GRID)},
        sources={"p1/ED": source},
        labels=LABELS,
        training_labels={},
        truth=None,
        workspace=tmp_path / "workspace",
        device=torch.device("cpu"),
        seed=0,
        modality="ct",
    )


def expected() -> torch.Tensor:
    hu, labels = scan(), torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[(hu > 40) & (hu < 80)] = 2
    labels[hu == 170] = 3
    labels[hu == 75] = 10
    return labels


def overlap(a: torch.Tensor, b: torch.Tensor, label: int) -> float:
    return float(2 * ((a == label) & (b == label)).sum() / ((a == label).sum() + (b == label).sum()))


def test_masks_come_back_to_the_scans_grid_with_overlaps_resolved(sat: Sat, request_: MaskRequest) -> None:
    mask = sat.masks(request_)["p1/ED"]
    assert mask.grid is request_.scans["p1/ED"].grid
    assert {label: overlap(mask.data, expected(), label) > 0.85 for label in (2, 3, 10)} == {2: True, 3: True, 10: True}
    assert set(mask.data.unique().tolist()) == {0, 2, 3, 10}


def test_a_preprocessed_grid_and_a_resumed_run(sat: Sat, request_: MaskRequest) -> None:
    first = sat.masks(request_)["p1/ED"]
    target = Squeeze(shape=(15, 14, 20)).target(GRID)
    again = sat.masks(replace(request_, scans={"p1/ED": Volume(torch.zeros(target.shape), target)}))["p1/ED"]
    assert sat.checkout is not None
    assert len((sat.checkout / "calls").read_text().splitlines()) == 1
    coarse = resample(first.data, GRID, target, mode="nearest")
    assert overlap(again.data, coarse, 3) > 0.8


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "too little memory"),
        ("RuntimeError: Error(s) in loading state_dict for DistributedDataParallel", "one generation"),
        ("ModuleNotFoundError: No module named 'einops'", "lacks a package"),
        ("something else\n", "something else"),
    ],
)
def test_what_goes_wrong_is_said(sat: Sat, request_: MaskRequest, fault: str, sentence: str) -> None:
    assert sat.checkout is not None
    (sat.checkout / "fault").write_text(fault)
    with pytest.raises(RunError, match=sentence):
        sat.masks(request_)


@pytest.mark.parametrize(("fault", "sentence"), [("forget", "no mask for 'liver'"), ("shift", "other content")])
def test_results_that_are_not_what_they_should_be(sat: Sat, request_: MaskRequest, fault: str, sentence: str) -> None:
    assert sat.checkout is not None
    (sat.checkout / fault).touch()
    with pytest.raises(RunError, match=sentence):
        sat.masks(request_)


@pytest.mark.parametrize("field", ["checkout", "checkpoint", "text_checkpoint"])
def test_what_is_missing_is_named(sat: Sat, request_: MaskRequest, field: str, tmp_path: Path) -> None:
    for value in (None, tmp_path / "nowhere"):
        with pytest.raises(BadValueError, match=field):
            replace(sat, **{field: value}).masks(request_)


def test_a_folder_that_is_no_checkout(sat: Sat, request_: MaskRequest, tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match=r"inference\.py"):
        replace(sat, checkout=tmp_path).masks(request_)
