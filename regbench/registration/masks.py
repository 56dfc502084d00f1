"""Masks of a pair of anybody's scans, by the source that a run's method was trained with."""

from dataclasses import replace
from pathlib import Path

from regbench.api import MaskSource, Volume
from regbench.api.progress import Progress, during
from regbench.data import cache_folder
from regbench.engine.masks import mask_request, masks_key
from regbench.engine.plan import Chosen
from regbench.engine.proof.reopening import Reopened, chosen_by
from regbench.errors import BadValueError, DataError
from regbench.registration.pair import Presented
from regbench.registry import Registry

_FIXED, _MOVING = "own/fixed", "own/moving"


def with_source_masks(
    presented: Presented,
    reopened: Reopened,
    registry: Registry,
    files: tuple[Path, Path],
    progress: Progress,
    cache: Path | None = None,
) -> Presented:
    """The pair with masks of both scans by the run's own source, which works on as it did for the run.

    A source that trains does so in the folder in which it has made the run's masks: it has nothing left to learn.

    Args:
        presented: without masks, on the method's grid.
        reopened: the run, with its training scans.
        registry: of what is installed.
        files: of the fixed and of the moving scan, for sources that drive another program.
        progress: is told of a phase "masks".
        cache: as the run was opened with.

    Raises:
        BadValueError: for a run without masks at test, and for a source that copies true labels.
        DataError: where the source cannot make masks of these scans.
    """
    said = reopened.record.masks
    if said is None or said.saw_test_labels:
        why = "has no mask source" if said is None else f"has masks of '{said.name}', which come from true labels"
        raise BadValueError(
            f"The run {reopened.record.run_id} {why}; give label maps with --fixed-mask and --moving-mask."
        )
    chosen: Chosen[MaskSource] = chosen_by(registry, "masks", said, reopened.folder, reopened.record)
    cohort, source = reopened.cohort, chosen.instance
    workspace = (cache or cache_folder()) / "masks" / masks_key(cohort, chosen) / "workspace"
    request = mask_request(cohort, source, reopened.task.modality, workspace, progress)
    own = {_FIXED: presented.pair.fixed, _MOVING: presented.pair.moving}
    request = replace(
        request,
        scans={scan: request.scans[scan] for scan in request.training_labels} | own,
        sources={**request.sources, **dict(zip(own, files, strict=True))},
    )
    try:
        with during("masks", progress, float(len(request.scans))):
            made = source.masks(request)
    except DataError as error:
        raise DataError([*error.faults, "Give label maps with --fixed-mask and --moving-mask instead."]) from error
    faults = [f"The source '{said.name}' gave no usable mask of the {scan} scan." for scan in own
              if scan not in made or made[scan].grid.shape != presented.pair.grid.shape]  # fmt: skip
    if faults:
        raise DataError([*faults, "Give label maps with --fixed-mask and --moving-mask instead."])
    fixed, moving = (Volume(made[scan].data.to(own[scan].data.device), presented.pair.grid) for scan in own)
    return replace(presented, pair=replace(presented.pair, fixed_mask=fixed, moving_mask=moving))
