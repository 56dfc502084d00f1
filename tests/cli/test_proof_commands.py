"""verify, evaluate, export, bundle and merge, as they are typed."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as everybody calls it
from scipy.ndimage import map_coordinates
from typer.testing import Result

from regbench.metrics import hd95

Call = Callable[..., Result]

WAVES = '''
from dataclasses import dataclass
from typing import ClassVar
import torch
from regbench.api import Card, Field, Method, Pair

@dataclass(frozen=True)
class Waves(Method):
    """A wave in each direction, another one for each pair.

    Attributes:
        size: in voxels.
    """
    card: ClassVar[Card] = Card(title="Waves", summary="Waves.")
    size: float = 1.5
    def register(self, pair: Pair) -> Field:
        axes = [torch.arange(n, dtype=torch.float32) for n in pair.grid.shape]
        i, j, k = torch.meshgrid(*axes, indexing="ij")
        phase = 10 * float(pair.moving.data.mean() - pair.fixed.data.mean())
        waves = [torch.sin(j / 3 + phase), torch.cos(k / 4 + i / 5), torch.sin(i / 4 + phase)]
        return Field(self.size * torch.stack(waves), pair.grid)
'''


@pytest.fixture
def waves(run: Call, call: Call, plugin_words: Sequence[str], tmp_path: Path) -> Call:
    """Call regbench with the toy task and a method whose fields bend, of which there is a run on phantoms."""
    (tmp_path / "waves.py").write_text(WAVES)
    words = [*plugin_words, "--plugin", str(tmp_path / "waves.py")]

    def invoke(command: str, *given: str | Path) -> Result:
        return call(command, *given, *words)

    return invoke


def made(waves: Call, *words: str | Path) -> Path:
    """A run of waves; its folder."""
    result = waves("run", "--task", "balls", "--method", "waves", *words)
    assert result.exit_code == 0, result.output
    (folder,) = Path("runs/balls/waves").iterdir()
    return folder


def rows(folder: Path) -> dict[tuple[str, str, str, str], float]:
    with (folder / "cases.csv").open() as file:
        return {
            (row["fixed"], row["moving"], row["metric"], row["label"]): float(row["value"])
            for row in csv.DictReader(file)
        }


def stored_as(folder: Path, code: str) -> None:
    """Every image of a folder in another storage order, each voxel where it was in the world."""
    for path in folder.glob("*.nii.gz"):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(code))
        turned = image.as_reoriented(turn)
        nib.save(nib.Nifti1Image(np.asarray(turned.dataobj).copy(), turned.affine), path)


def test_verify(waves: Call) -> None:
    folder = made(waves)
    result = waves("verify", folder.name[:6])
    assert result.exit_code == 0, result.output
    count = len(rows(folder))
    assert f"{count} of {count} rows agree, {count} of them to the last bit." in result.stdout
    assert "The record holds." in result.stdout
    text = (folder / "cases.csv").read_text().splitlines()
    text[1] = text[1].rpartition(",")[0] + ",99.9"
    (folder / "cases.csv").write_text("\n".join([*text, ""]))
    result = waves("verify", folder)
    assert result.exit_code == 1
    assert "cases.csv is not the file that the run wrote" in result.stdout
    assert "99.9 in the record" in result.stdout
    assert "The record does not hold." in result.stdout
    result = waves("verify", folder, "--json", "--tolerance", "1000")
    assert result.exit_code == 1, "the digest is still another one"
    said = json.loads(result.stdout)
    assert (said["holds"], said["rows"], said["equal"], said["differing"]) == (False, count, count - 1, [])


def test_verify_needs_the_scans_of_the_run(waves: Call, balls_folder: Path) -> None:
    folder = made(waves, "--data", balls_folder, "--save-fields")
    result = waves("verify", folder)
    assert result.exit_code == 2
    assert "name their folder with --data DIR" in result.stderr
    result = waves("verify", folder, "--data", balls_folder)
    assert result.exit_code == 0, result.output
    assert "Scored: the fields that the run kept." in result.stdout
    image = nib.load(balls_folder / "c5.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata().astype(np.float32)[::-1], image.affine), balls_folder / "c5.nii.gz")
    result = waves("verify", folder, "--data", balls_folder)
    assert result.exit_code == 2
    assert "their fingerprint differs" in result.stderr
    assert waves("verify", "nothing").exit_code == 2


def challenge_scores(data: Path, folder: Path, fixed: str, moving: str) -> dict[tuple[str, str], float]:
    """A pair scored as the challenge's evaluation says: arrays in the order of the files, and nothing else."""
    disp = np.asarray(nib.load(folder / f"disp_{fixed}_{moving}.nii.gz").dataobj)
    assert disp.dtype == np.float32
    target, source = (np.asarray(nib.load(data / f"{case}_labels.nii.gz").dataobj) for case in (fixed, moving))
    assert disp.shape == (*target.shape, 3)
    points = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij")) + np.moveaxis(disp, -1, 0)
    moved = map_coordinates(source, points, order=0)
    scores = {}
    for label in (1, 2):
        both = ((target == label) & (moved == label)).sum()
        scores["dsc", str(label)] = 100 * 2 * both / ((target == label).sum() + (moved == label).sum())
    for label, value in hd95(target, moved, [1, 2], (1, 1, 1)).items():
        scores["hd95-l2r", str(label)] = value
    gradient = np.stack([np.gradient(disp.astype(np.float64), axis=axis) for axis in range(3)], axis=-1)
    determinant = np.linalg.det(gradient + np.eye(3))[2:-2, 2:-2, 2:-2]
    scores["sdlogj-l2r", ""] = np.log((determinant + 3).clip(1e-9, 1e9)).std()
    return scores


def test_a_submission_scores_what_the_run_scored(waves: Call, balls_folder: Path) -> None:
    stored_as(balls_folder, "PIL")
    folder = made(waves, "--data", balls_folder)
    result = waves("export", folder, "--to", "l2r", "-o", "submission", "--data", balls_folder)
    assert result.exit_code == 0, result.output
    assert "resampled" not in result.stderr
    assert sorted(path.name for path in Path("submission").iterdir()) == [
        f"disp_{a}_{b}.nii.gz" for a, b in (("c4", "c5"), ("c4", "c6"), ("c5", "c6"))
    ]
    mine = rows(folder)
    for fixed, moving in (("c4", "c5"), ("c4", "c6"), ("c5", "c6")):
        theirs = challenge_scores(balls_folder, Path("submission"), fixed, moving)
        assert len(theirs) == 5
        for (metric, label), value in theirs.items():
            assert mine[fixed, moving, metric, label] == pytest.approx(value, abs=1e-5), (fixed, moving, metric, label)
    assert mine["c4", "c5", "sdlogj-l2r", ""] > 0.015, "the fields have to bend"

    result = waves(
        "evaluate", "--task", "balls", "--fields", "submission", "--name", "Elsewhere", "--data", balls_folder
    )
    assert result.exit_code == 0, result.output
    (other,) = Path("runs/balls/Elsewhere").iterdir()
    assert rows(other) == mine


def test_a_run_on_another_grid_is_resampled_and_that_is_said(waves: Call, balls_folder: Path) -> None:
    folder = made(waves, "--data", balls_folder, "--set", "task.grid=12x10x8")
    result = waves("export", folder, "--to", "l2r", "-o", "out", "--data", balls_folder)
    assert result.exit_code == 0, result.output
    assert "The run's grid of 12×10×8 voxels is not that of the scans' files: 3 fields were resampled" in result.stderr
    assert nib.load("out/disp_c4_c5.nii.gz").shape == (24, 20, 16, 3)


def test_simpleitk_applies_an_exported_field(waves: Call, balls_folder: Path) -> None:
    stored_as(balls_folder, "LPI")
    folder = made(waves, "--data", balls_folder)
    result = waves("export", folder, "--to", "itk", "-o", "warps", "--data", balls_folder)
    assert result.exit_code == 0, result.output
    fixed, moving = (sitk.ReadImage(str(balls_folder / f"{case}_labels.nii.gz")) for case in ("c4", "c6"))
    vectors = sitk.ReadImage("warps/warp_c4_c6.nii.gz", sitk.sitkVectorFloat64)
    moved = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(vectors), sitk.sitkNearestNeighbor, 0)
    target, found = sitk.GetArrayFromImage(fixed), sitk.GetArrayFromImage(moved)
    for label in (1, 2):
        both = ((target == label) & (found == label)).sum()
        score = 100 * 2 * both / ((target == label).sum() + (found == label).sum())
        assert rows(folder)["c4", "c6", "dsc", str(label)] == pytest.approx(score, abs=1e-6)
    assert (found != sitk.GetArrayFromImage(moving)).any()


def test_an_export_needs_a_new_folder(waves: Call) -> None:
    folder = made(waves)
    Path("full").mkdir()
    Path("full/something").touch()
    result = waves("export", folder, "--to", "l2r", "-o", "full")
    assert result.exit_code == 2
    assert "exists and is not empty" in result.stderr
    assert waves("export", folder, "--to", "mha", "-o", "new").exit_code == 2


def test_fields_made_elsewhere_are_on_the_board(waves: Call) -> None:
    folder = made(waves)
    waves("export", folder, "--to", "l2r", "-o", "submission")
    words = ("evaluate", "--task", "balls", "--fields", "submission", "--name", "Mine 2025")
    damaged = Path("runs/balls/waves/0123456789ab/run.json")
    damaged.parent.mkdir()
    damaged.write_text("{")
    result = waves(*words, "--save-fields")
    assert result.exit_code == 0, result.output
    assert "Mine 2025" in result.stdout
    assert f"{damaged} is no run record" in result.stderr, "what is not on the board is named beside it"
    (other,) = Path("runs/balls/Mine 2025").iterdir()
    assert rows(other) == rows(folder)
    record = json.loads((other / "run.json").read_text())
    assert (record["method"]["distribution"], record["method"]["name"]) == ("fields", "Mine 2025")
    assert record["training"] is None
    assert "Mine 2025" in waves_board(waves)
    verified = waves("verify", other)
    assert verified.exit_code == 0, verified.output
    again = waves(*words)
    assert again.exit_code == 0
    assert json.loads((other / "run.json").read_text()) == record, "the same fields are the same run"
    np.savez("submission/disp_c4_c5.npz", np.zeros((3, 24, 20, 16), np.float16))
    Path("submission/disp_c4_c5.nii.gz").unlink()
    assert waves(*words).exit_code == 0
    assert len(list(Path("runs/balls/Mine 2025").iterdir())) == 2, "other fields are another run"


def waves_board(waves: Call) -> str:
    from typer.testing import CliRunner

    from regbench.cli import app

    return CliRunner().invoke(app, ["leaderboard"]).stdout


def test_all_faults_of_the_fields_are_told_and_nothing_is_recorded(waves: Call) -> None:
    waves("export", made(waves), "--to", "l2r", "-o", "sub")
    Path("sub/disp_c4_c5.nii.gz").unlink()
    array = np.full((24, 20, 16, 3), np.nan, np.float32)
    nib.save(nib.Nifti1Image(array, np.eye(4)), "sub/disp_c4_c6.nii.gz")
    nib.save(nib.Nifti1Image(array[:20] * 0 + 1, np.eye(4)), "sub/disp_c5_c6.nii.gz")
    result = waves("evaluate", "--task", "balls", "--fields", "sub", "--name", "Mine")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 3
    for said in ("lacks the fields of 1 of 3 pairs: disp_c4_c5.nii.gz", "disp_c4_c6.nii.gz is not finite in 23040 of",
                 "disp_c5_c6.nii.gz is"):  # fmt: skip
        assert said in result.stderr
    assert not Path("runs/balls/Mine").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "waves"), "is taken by a method"),
        (("--name", "Initial"), "is taken by a method"),
        (("--name", "../evil"), "cannot be a row's name"),
        (("--name", "x", "--set", "recipe.steps=3"), "Only task.NAME can be set here"),
        (("--name", "x", "--set", "steps=3"), "Only task.NAME can be set here"),
        (("--name", "x", "--set", "task.grid=4"), "three numbers"),
        (("--name", "x", "--protocol", "all"), "needs real scans"),
    ],
)
def test_wrong_requests(waves: Call, words: Sequence[str], said: str) -> None:
    result = waves("evaluate", "--task", "balls", "--fields", ".", *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_folder_of_fields_that_is_not_there_is_told_first(waves: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regbench.cli.evaluating.staged", lambda *_: pytest.fail("scans were made ready"))
    result = waves("evaluate", "--task", "balls", "--fields", "nowhere", "--name", "Mine")
    assert result.exit_code == 2
    assert "nowhere is no folder; expected one that holds disp_FIXED_MOVING.nii.gz" in result.stderr


def test_runs_travel_in_a_bundle(waves: Call, call: Call) -> None:
    folder = made(waves)
    result = call("bundle", "all", "--out", "all.zip")
    assert result.exit_code == 0, result.output
    assert "Runs in all.zip: 2 (" in result.stdout
    result = call("merge", "all.zip", "--runs", "theirs")
    assert result.exit_code == 0, result.output
    assert "Runs taken into theirs: 2." in result.stdout
    assert call("leaderboard", "--runs", "theirs").stdout == call("leaderboard").stdout
    assert "Runs taken into runs: 0; there already: 2." in call("merge", "all.zip").stdout
    verified = waves("verify", folder.name, "--runs", "theirs")
    assert verified.exit_code == 0, verified.output
    (folder / "cases.csv").write_text((folder / "cases.csv").read_text().replace("c4,c5", "c4,c6"))
    result = call("bundle", folder, "--out", "edited.zip")
    assert result.exit_code == 2
    assert "is not the file that the run wrote" in result.stderr
    assert not Path("edited.zip").exists()
    (folder / "run.json").write_text("{}")
    result = call("bundle", "all", "--out", "rest.zip")
    assert "is no run record" in result.stderr
    assert "Runs in rest.zip: 1 (" in result.stdout
    Path("half.zip").write_bytes(Path("all.zip").read_bytes()[:2000])
    result = call("merge", "half.zip", "--runs", "other")
    assert result.exit_code == 2
    assert "is no whole bundle" in result.stderr
    assert call("bundle", "all", "--out", "x.zip", "--runs", "nothing").exit_code == 2
