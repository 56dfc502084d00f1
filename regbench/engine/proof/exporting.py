"""A run's fields in the layouts that others read."""

from pathlib import Path
from typing import Literal

from regbench.api.grid import times
from regbench.api.progress import Progress, Silent, Tick, during
from regbench.data import replacing_folder, write_itk_field
from regbench.data.files.folders import refuse_full
from regbench.data.learn2reg import submission_name, write_submission_field
from regbench.engine.proof.reopening import Reopened

Layout = Literal["l2r", "itk"]


def export(run: Reopened, layout: Layout, folder: Path, progress: Progress | None = None) -> list[str]:
    """Write the fields of a run's test pairs into a new folder, whole or not at all.

    Args:
        run: opened again; pairs whose fields were not kept are registered again.
        layout: "l2r": a submission to Learn2Reg, `disp_FIXED_MOVING.nii.gz` on the grid of the fixed scan's file;
            "itk": `warp_FIXED_MOVING.nii.gz` in millimetres, which leads from the fixed to the moving scan.
        folder: does not exist yet, or is empty.
        progress: who is told.

    Returns:
        What the reader of the files has to know, in sentences.

    Raises:
        StorageError: if the folder holds something or cannot be written.
        DataError: if a pair's scans are on grids that the layout has no words for.
    """
    refuse_full(folder)
    told, resampled = progress or Silent(), 0
    with during("evaluate", told, float(len(run.pairs)), "pair"), replacing_folder(folder) as temporary:
        for number, pair in enumerate(run.pairs, 1):
            field = run.field(pair)
            if layout == "l2r":
                resampled += write_submission_field(temporary, pair, field, run.cohort)
            else:
                name = submission_name(pair).replace("disp_", "warp_", 1)
                write_itk_field(temporary / name, field, run.cohort.image(pair.moving).grid)
            told.advanced(Tick(done=float(number)))
    return _notes(run, resampled)


def _notes(run: Reopened, resampled: int) -> list[str]:
    notes = []
    if resampled:
        notes.append(
            f"The run's grid of {times(run.record.protocol.grid.shape)} voxels is not that of the scans' files: "
            f"{resampled} fields were resampled, and will score a little differently there."
        )
    skipped = len(run.record.pairs_skipped)
    if skipped:
        notes.append(f"The run skipped {skipped} of the protocol's pairs; a submission needs all of them.")
    return notes
