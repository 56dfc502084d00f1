"""regbench register, from files to files."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody calls it
from typer.testing import Result

from regbench.cli.register_files import FILES
from regbench.data import read_field

Call = Callable[..., Result]

MASKED = '''
from dataclasses import dataclass
from typing import ClassVar
from collections.abc import Mapping
import torch
from regbench.api import Card, Field, MaskRequest, MaskSource, Method, Pair, Volume

@dataclass(frozen=True)
class Middles(Method):
    """Moves the middle of one mask onto that of the other."""
    card: ClassVar[Card] = Card(title="Middles", summary="Middles.")
    masks = "always"
    def skip(self, pair: Pair) -> str | None:
        return "it is too thin." if min(pair.grid.shape) < 2 else None
    def register(self, pair: Pair) -> Field:
        middles = [(m.data > 0).nonzero().float().mean(0) for m in (pair.fixed_mask, pair.moving_mask)]
        shift = middles[1] - middles[0]
        return Field(shift.view(3, 1, 1, 1).expand(3, *pair.grid.shape).clone(), pair.grid)

@dataclass(frozen=True)
class Bright(MaskSource):
    """What is bright, once the training scans have said how bright that is."""
    card: ClassVar[Card] = Card(title="Bright", summary="Bright.")
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = False
    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        learned = request.workspace / "learned"
        if not learned.exists():
            inside = [request.scans[s].data[v.data > 0].mean() for s, v in request.training_labels.items()]
            learned.write_text(str(float(sum(inside) / len(inside)) / 2))
        limit = float(learned.read_text())
        return {s: Volume((v.data > limit).to(torch.uint8), v.grid) for s, v in request.scans.items()}
'''


def blob(shape: tuple[int, ...], affine: np.ndarray, middle_mm: Sequence[float], level: float = 0.0) -> np.ndarray:
    """A bright blob at a place of the world, or the voxels in which it is brighter than a level."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3] - np.asarray(middle_mm)
    value = np.exp(-(world**2).sum(-1) / (2 * 5.0**2)).astype(np.float32)
    return (value > level).astype(np.int16) if level else value


def oblique(axes: Sequence[Sequence[float]], spacing: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """An affine whose axes are made perpendicular, with its middle in the world's origin."""
    directions, _ = np.linalg.qr(np.array(axes, float).T)
    directions *= np.sign((directions * np.array(axes, float).T).sum(0))
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two blobs in files of other sizes, spacings, storage orders and oblique directions; both with labels."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name, shape, axes, spacing, middle in (
        ("fixed", (22, 18, 26), [(-1, 0.1, 0), (0, 0.1, -1), (0, 1, 0.2)], (2.0, 2.5, 1.5), (0, 0, 0)),
        ("moving", (20, 24, 21), [(0, 1, 0.1), (1, 0, 0.1), (0.1, 0, 1)], (1.8, 1.7, 2.2), (3, -2, 4)),
    ):
        affine = oblique(axes, spacing, shape)
        nib.save(nib.Nifti1Image(100 * blob(shape, affine, middle), affine), folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(blob(shape, affine, middle, 0.5), affine), folder / f"{name}_labels.nii.gz")
    return folder


@pytest.fixture(autouse=True)
def _no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest; the first test draws."""
    if "moves_the_blob" not in request.node.name:
        monkeypatch.setattr("regbench.cli.register_files.pair_picture", lambda *_: b"a picture")


@pytest.fixture
def register(call: Call, scans: Path) -> Call:
    """Call regbench register on the two blobs."""
    words = ("register", "--fixed", scans / "fixed.nii.gz", "--moving", scans / "moving.nii.gz")
    return functools.partial(call, *words)


def labels(scans: Path) -> list[str | Path]:
    return ["--fixed-labels", scans / "fixed_labels.nii.gz", "--moving-labels", scans / "moving_labels.nii.gz"]


def said(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "register.json").read_text())
    return found


def test_refinement_alone_moves_the_blob(register: Call, scans: Path, tmp_path: Path) -> None:
    result = register("--method", "identity", "--refine", "12", *labels(scans), "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert "identity + refine 12" in result.stdout
    assert "picture.png" in result.stdout
    assert (tmp_path / "out/picture.png").read_bytes().startswith(b"\x89PNG")
    record = said(tmp_path / "out")
    assert record["dice"]["1"]["after"] > record["dice"]["1"]["before"] + 0.05
    assert record["local_correlation"]["after"] > record["local_correlation"]["before"]
    assert (record["method"], record["refine_steps"], record["run_id"]) == ("identity", 12, None)
    fixed = nib.load(scans / "fixed.nii.gz")
    for name, kind in (("moved", np.float32), ("moved_labels", np.int16), ("jacobian", np.float32)):
        image = nib.load(tmp_path / "out" / f"{name}.nii.gz")
        assert image.shape == fixed.shape, name
        assert np.array_equal(image.affine, fixed.affine), name
        assert image.get_data_dtype() == kind, name
    assert set(np.unique(nib.load(tmp_path / "out/moved_labels.nii.gz").dataobj)) == {0, 1}
    field = read_field(tmp_path / "out/displacement_voxels.nii.gz", like=scans / "fixed.nii.gz")
    assert 0.5 < field.displacement.abs().max() < 10


def test_itk_moves_the_scan_to_the_same_place(register: Call, scans: Path, tmp_path: Path) -> None:
    """SimpleITK knows the three files only: the field of one order, the scans of two others."""
    assert register("--method", "identity", "--refine", "8", "-o", tmp_path / "out").exit_code == 0
    vectors = sitk.ReadImage(str(tmp_path / "out/displacement.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(vectors)
    fixed, moving = (sitk.ReadImage(str(scans / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
    moved = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out/moved.nii.gz")))
    seen = expected > 1
    assert seen.sum() > 1000
    np.testing.assert_allclose(moved[seen], expected[seen], atol=0.02)  # of 100


def test_nothing_is_written_over(register: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert register("--method", "identity", "-o", out).exit_code == 0
    assert not (out / "moved_labels.nii.gz").exists()
    again = register("--method", "identity", "-o", out)
    assert again.exit_code == 2
    assert "holds moved.nii.gz already" in again.stderr
    (out / "register.json").write_text("old")
    assert register("--method", "identity", "-o", out, "--force").exit_code == 0
    assert said(out)["method"] == "identity"
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        assert "file is a file; -o" in register("--method", "identity", "-o", tmp_path / place).stderr
    (out / "picture.png").unlink()
    (out / "picture.png").mkdir()
    (out / "moved.nii.gz").write_text("old")
    blocked = register("--method", "identity", "-o", out, "--force")
    assert blocked.exit_code == 2
    assert "picture.png is a folder, where a file is to be written" in blocked.stderr
    assert (out / "moved.nii.gz").read_text() == "old"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_registered(
    register: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode, **__: not mode & os.W_OK)  # root may write anywhere
    monkeypatch.setattr("regbench.cli.registering.register_own", lambda *_: pytest.fail("registered"))
    result = register("--method", "identity", "-o", tmp_path / "closed/out")
    assert result.exit_code == 2, result.output
    assert f"Nothing can be written in {tmp_path}: permission is denied" in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "identiti"], "no method or run called 'identiti'; did you mean 'identity'?"),
        (["--method", "voxelmorph"], "has to be trained first"),
        (["--method", "voxelmorph"], "--set weights=FILE"),
        (["--method", "identity", "--set", "wrong=1"], "no field of Identity called 'wrong'"),
        (["--method", "identity", "--set", "task.grid=8x8x8"], "grid is set with --grid"),
        (["--method", "identity", "--grid", "16x16x16"], "name a task with --task"),
        (["--method", "identity", "--protocol", "all"], "needs its task"),
        (["--method", "identity", "--fixed-mask", "missing.nii.gz"], "missing.nii.gz is missing"),
        (["--method", "identity", "--device", "cuda:77"], "GPU"),
    ],
)
def test_wrong_requests(register: Call, tmp_path: Path, words: list[str], sentence: str) -> None:
    result = register(*words, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_labels_of_another_scan_are_refused(register: Call, scans: Path, tmp_path: Path) -> None:
    wrong = register("--method", "identity", "--fixed-labels", scans / "moving_labels.nii.gz", "-o", tmp_path / "out")
    assert wrong.exit_code == 2
    assert "fixed label map does not lie on the grid of the fixed scan" in wrong.stderr


def test_a_task_gives_intensities_and_grid(
    register: Call, plugin_words: Sequence[str], scans: Path, tmp_path: Path
) -> None:
    words = ["--task", "balls", "--grid", "12x10x16", *plugin_words, "-o", tmp_path / "out"]
    result = register("--method", "centroid", *words)
    assert result.exit_code == 0, result.output
    record = said(tmp_path / "out")
    assert record["grid"] == {"shape": [12, 10, 16], "spacing_mm": [2, 2, 2]}
    assert record["intensity"] == {"rule": "window", "low": 0, "high": 1}
    assert any("grid covers" in note for note in record["notes"])
    unused = register("--method", "centroid", *words, "--force", "--fixed-mask", scans / "fixed_labels.nii.gz")
    assert "does not look at masks" in unused.stderr


def test_a_run_registers_with_its_weights_and_its_refinement(
    run: Call, register: Call, plugin_words: Sequence[str], tmp_path: Path
) -> None:
    trained = run("--method", "learner", "--steps", "2", "--refine", "3")
    assert trained.exit_code == 0, trained.output
    folders = list((tmp_path / "runs/balls").glob("learner + refine/*"))
    assert len(folders) == 1
    assert len(list((tmp_path / "runs/balls").glob("identity*/*"))) == 1  # and is not refined, as it was not asked for
    result = register("--method", folders[0].name[:6], *plugin_words, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    record = said(tmp_path / "out")
    assert (record["run_id"], record["refine_steps"]) == (folders[0].name, 3)
    assert "learner + refine 3 (run" in result.stdout
    plain = register("--method", folders[0], "--refine", "0", *plugin_words, "-o", tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    assert said(tmp_path / "plain")["refine_steps"] == 0
    wrong = register("--method", folders[0], "--task", "balls", *plugin_words, "-o", tmp_path / "wrong")
    assert "A run brings its task" in wrong.stderr
    assert "has changed since" not in plain.stderr
    record = json.loads((folders[0] / "run.json").read_text())
    record["method"]["source"] = "0" * 64
    del record["seal"]
    (folders[0] / "run.json").write_text(json.dumps(record))
    other = register("--method", folders[0], "--refine", "0", *plugin_words, "-o", tmp_path / "other")
    assert "The code of the method 'learner' has changed since the run was made" in other.stderr
    (folders[0] / "weights.safetensors").unlink()
    gone = register("--method", folders[0], *plugin_words, "-o", tmp_path / "gone")
    assert gone.exit_code == 2
    assert "weights" in gone.stderr


def test_masks_come_from_files_or_from_the_source_of_the_run(
    run: Call, register: Call, plugin_words: Sequence[str], scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "masked.py").write_text(MASKED)
    plugins = [*plugin_words, "--plugin", tmp_path / "masked.py"]
    trained = run("--method", "middles", "--masks", "bright", "--plugin", tmp_path / "masked.py")
    assert trained.exit_code == 0, trained.output
    run_id = next((tmp_path / "runs/balls").glob("middles*/*")).name
    for name, image in (("fixed", "fixed"), ("moving", "moving")):  # as bright as those that the source has seen
        scan = nib.load(scans / f"{image}.nii.gz")
        nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32) / 100, scan.affine), scans / f"{name}.nii.gz")
    by_source = register("--method", run_id, *labels(scans), *plugins, "-o", tmp_path / "out")
    assert by_source.exit_code == 0, by_source.output
    assert said(tmp_path / "out")["masks"] is True
    assert said(tmp_path / "out")["dice"]["1"]["after"] > 0.85
    masks = ["--fixed-mask", scans / "fixed_labels.nii.gz", "--moving-mask", scans / "moving_labels.nii.gz"]
    by_file = register("--method", "middles", *masks, *plugins, *labels(scans), "-o", tmp_path / "files")
    assert by_file.exit_code == 0, by_file.output
    assert said(tmp_path / "files")["dice"]["1"]["after"] > 0.85
    for words in ([], masks[:2]):
        lacking = register("--method", "middles", *words, *plugins, "-o", tmp_path / "none")
        assert lacking.exit_code == 2
        assert "--fixed-mask and --moving-mask" in lacking.stderr
    for scan in ("fixed", "moving"):
        flat = nib.load(scans / f"{scan}.nii.gz").slicer[:, :, 8:9]
        nib.save(flat, scans / f"{scan}.nii.gz")
        nib.save(nib.Nifti1Image(np.ones(flat.shape, np.uint8), flat.affine), scans / f"{scan}_labels.nii.gz")
    thin = register("--method", "middles", *masks, *plugins, "-o", tmp_path / "thin")
    assert thin.exit_code == 2
    assert thin.stderr == "middles cannot register this pair: it is too thin.\n"


def test_refinement_alone_is_a_row_beside_the_unregistered_state(run: Call) -> None:
    result = run("--method", "identity", "--refine", "1")
    assert result.exit_code == 0, result.output
    assert "1/2 identity\n" in result.stdout
    assert "2/2 identity + refine\n" in result.stdout
    board = [line.split("  ")[0].strip() for line in result.stdout.splitlines()]
    assert {"Initial", "Initial + refine"} <= {line.strip(" │") for line in board}
