"""What `regbench register` leaves behind: files, and a summary on one screen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.table import Table

import regbench
from regbench.api.grid import times
from regbench.cli.console import out, tell
from regbench.data import write_bytes, write_field, write_itk_field, write_text
from regbench.data.files.nifti import read_stored
from regbench.registration import OwnScans, Registrar, Registration, label_type, write_like
from regbench.report.pictures.pair import pair_picture

MOVED, MOVED_LABELS, JACOBIAN = "moved.nii.gz", "moved_labels.nii.gz", "jacobian.nii.gz"
FIELD, VOXEL_FIELD = "displacement.nii.gz", "displacement_voxels.nii.gz"
PICTURE, SAID = "picture.png", "register.json"
FILES = (MOVED, MOVED_LABELS, FIELD, VOXEL_FIELD, JACOBIAN, PICTURE, SAID)
_DIGITS = 6
_LISTED = 20  # labels, so that the summary stays on one screen


def write_results(
    folder: Path,
    sources: tuple[Path, Path, Path | None],
    scans: OwnScans,
    found: Registration,
    registrar: Registrar,
    refine: int,
) -> None:
    """Write every file, each atomically, and register.json last: a folder that has it is whole.

    Args:
        folder: where to; made if it is missing.
        sources: the files of the fixed and the moving scan and of the moving labels.
        scans: what was in them.
        found: what has come of them.
        registrar: who registered.
        refine: by how many steps.

    Raises:
        StorageError: where something cannot be written.
    """
    fixed, moving, labels = sources
    for name in (SAID, MOVED_LABELS):
        (folder / name).unlink(missing_ok=True)
    like, real = read_stored(fixed), np.dtype(np.float32)
    write_like(folder / MOVED, found.moved, like, real)
    if found.moved_labels is not None and labels is not None:
        write_like(folder / MOVED_LABELS, found.moved_labels, like, label_type(labels))
    write_like(folder / JACOBIAN, found.determinant, like, real)
    write_itk_field(folder / FIELD, found.field)
    write_field(folder / VOXEL_FIELD, found.field, like=fixed)
    title = f"{_name(registrar, refine)}: {moving.name} onto {fixed.name}"
    write_bytes(folder / PICTURE, pair_picture(scans, found, registrar.preparation.intensity, title))
    said = _said(sources, found, registrar, refine)
    write_text(folder / SAID, json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def _said(
    sources: tuple[Path, Path, Path | None], found: Registration, registrar: Registrar, refine: int
) -> dict[str, Any]:
    presented, (before, after) = found.presented, found.similarity
    grid, determinant = presented.pair.grid, found.registered_determinants
    return {
        "regbench": regbench.__version__,
        "fixed": sources[0].name,
        "moving": sources[1].name,
        "method": registrar.name,
        "run_id": registrar.run_id,
        "plugin": registrar.version,
        "configuration": dict(registrar.said),
        "masks": presented.pair.fixed_mask is not None,
        "refine_steps": refine,
        "device": str(presented.pair.fixed.data.device),
        "intensity": registrar.preparation.intensity.model_dump(mode="json"),
        "grid": {"shape": list(grid.shape), "spacing_mm": [round(s, _DIGITS) for s in grid.spacing_mm]},
        "registered_percent": round(100 * float(presented.covered.double().mean()), _DIGITS),
        "shift_mm": [round(s, _DIGITS) for s in presented.shift_mm.tolist()],
        "notes": list(presented.notes),
        "seconds": round(found.seconds, 3),
        "local_correlation": {"before": round(before, _DIGITS), "after": round(after, _DIGITS)},
        "folding_percent": round(found.folding_percent, _DIGITS),
        "determinant": {"least": float(determinant.min()), "greatest": float(determinant.max())},
        "outside_value": found.outside,
        "dice": {
            str(label): {"before": round(b, _DIGITS), "after": round(a, _DIGITS)}
            for label, (b, a) in found.dice.items()
        },
    }


def print_summary(folder: Path, found: Registration, registrar: Registrar, refine: int) -> None:
    """One screen: what was done, how well it went, where it lies."""
    grid, console = found.presented.pair.grid, out()
    run = f" (run {registrar.run_id[:8]})" if registrar.run_id else ""
    spacing = "×".join(f"{s:.3g}" for s in grid.spacing_mm)
    lines = [f"{_name(registrar, refine)}{run} on {times(grid.shape)} voxels of {spacing} mm, {found.seconds:.1f} s"]
    for line in (*lines, *found.presented.notes):
        tell(line)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head in ("", "before", "after"):
        table.add_column(head, justify="left" if not head else "right")
    table.add_row("local correlation", *(f"{value:.3f}" for value in found.similarity))
    for name, values in _dice_rows(found.dice):
        table.add_row(name, *(f"{100 * value:.1f}" for value in values))
    table.add_row("folding, %", "", f"{found.folding_percent:.3f}")
    console.print(table)
    console.print(f"Everything is in {folder}: look at {PICTURE} first.", markup=False, soft_wrap=True)


def _dice_rows(dice: Mapping[int, tuple[float, float]]) -> list[tuple[str, Sequence[float]]]:
    """The mean over the labels, and each of them where they are few."""
    if len(dice) < 2:
        return [(f"Dice of label {label}, %", values) for label, values in dice.items()]
    means = [fmean(values[side] for values in dice.values()) for side in (0, 1)]
    each = [(f"  label {label}", values) for label, values in dice.items()]
    return [(f"Dice of {len(dice)} labels, %", means), *(each if len(each) <= _LISTED else [])]


def _name(registrar: Registrar, refine: int) -> str:
    plain = registrar.name.removesuffix(" + refine")
    return f"{plain} + refine {refine}" if refine else plain
