"""What `regbench masks` does, once its words are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from regbench.api import MaskSource
from regbench.api.grid import times
from regbench.cli.console import out, tell
from regbench.cli.plans import Stage, Wanted, mask_source
from regbench.cli.preparing import preparing, staged
from regbench.cli.progress import shown
from regbench.data import Cohort, load_cohort
from regbench.data.files.folders import refuse_full
from regbench.engine import Chosen, add_masks
from regbench.errors import BadValueError
from regbench.leaderboard.formats.terminal import SheetView
from regbench.leaderboard.naming import abbreviations
from regbench.leaderboard.views.sheet import Cell, Head, Sheet, counted, number
from regbench.masks.writing import write_masks
from regbench.registry import Registry, configuration

Scores = Mapping[str, Mapping[int, float]]

_DIGITS = 1


@dataclass(frozen=True)
class Masked:
    """A cohort with the masks of a source.

    Attributes:
        stage: the task on its scans and its grid.
        source: what made the masks.
        cohort: with them.
    """

    stage: Stage
    source: Chosen[MaskSource]
    cohort: Cohort

    @property
    def title(self) -> str:
        """The task, its protocol, its scans and its grid."""
        protocol = self.stage.protocol
        scans = "real scans" if self.stage.data == "real" else "phantoms (synthetic scans)"
        return f"{self.stage.task.card.title}, {scans}, protocol {protocol.name}, {times(protocol.grid.shape)} voxels"


def masked(wanted: Wanted, files: Sequence[Path]) -> Masked:
    """Load the cohort of the only task that is wanted, and take the masks of the only source, from the cache or anew.

    Args:
        wanted: one task and one mask source.
        files: plugin files.

    Raises:
        RequestError: for what is unknown, or scans that do not fit.
        RunError: if the source fails.
    """
    registry, (name,), (task,) = Registry(files), wanted.masks, wanted.tasks
    if wanted.settings.methods or wanted.settings.recipe:
        other = next(iter([*wanted.settings.methods, *wanted.settings.recipe]))
        raise BadValueError(f"Nothing here has a setting '{other}'; fields of the source are set as masks.NAME=VALUE.")
    source = mask_source(registry, name, wanted)
    here = staged(registry, task, wanted)
    return Masked(here, source, add_masks(_cohort(here, wanted), source, shown(), modality=here.task.modality))


def _cohort(here: Stage, wanted: Wanted) -> Cohort:
    with preparing(here.protocol) as done:
        return load_cohort(here.task, here.folder, here.protocol, device=wanted.device, done=done)


def write_to(made: Masked, folder: Path) -> None:
    """Write the masks into a new or empty folder.

    Raises:
        StorageError: for a folder that holds something, or cannot be written.
    """
    refuse_full(folder)
    write_masks(made.cohort, folder)


def print_scores(made: Masked, scores: Scores) -> None:
    """The row "masks alone", its spread over scans below it, and what the source has seen."""
    names = list(made.cohort.protocol.labels.values())
    table = _table(made, scores)
    mean = table.mean(axis=1)
    rows = [
        [made.source.instance.card.title, *_numbers([*table.mean(), mean.mean()])],
        ["± std", *_numbers([*table.std(), mean.std()])],
    ]
    heads = [Head(short, meaning=name) for short, name in zip(abbreviations(names), names, strict=True)]
    sheet = Sheet(
        title="Masks alone: DSC of each structure's mask with its truth, % ↑",
        heads=(Head("Masks", is_text=True), *heads, Head("Mean")),
        rows=tuple(tuple(Cell(text) for text in row) for row in rows),
        notes=(
            f"Mean and std are over {counted(len(scores), 'test scan')}; a structure that the mask misses counts 0.",
        ),
    )
    tell(made.title)
    out().print(SheetView(sheet))
    print_seen(made)


def print_seen(made: Masked) -> None:
    """What the source has seen, for a reader of every number that stands on its masks."""
    source = made.source.instance
    may = {True: "it may have seen", False: "it has not seen"}
    sentence = f"{source.card.title}: {may[source.saw_test_images]} the test scans"
    if source.saw_test_labels:
        sentence += ", and it looked at their labels: an upper bound, not a result"
    out().print(f"{sentence}.", style="yellow" if source.saw_test_images else "dim", markup=False, soft_wrap=True)
    if source.card.trained_on:
        tell(f"Trained on: {source.card.trained_on}")


def as_json(made: Masked, scores: Scores) -> dict[str, Any]:
    """The same for programs; every value in percent, None where no scan has the structure."""
    table, source = _table(made, scores), made.source.instance
    mean = table.mean(axis=1)
    return {
        "task": made.stage.name,
        "protocol": made.stage.protocol.name,
        "revision": made.stage.protocol.revision,
        "data": made.stage.data,
        "grid": list(made.stage.protocol.grid.shape),
        "masks": made.source.plugin.name,
        "configuration": configuration(source),
        "saw_test_images": source.saw_test_images,
        "saw_test_labels": source.saw_test_labels,
        "trained_on": source.card.trained_on,
        "metric": "dsc",
        "unit": "%",
        "mean": _plain(mean.mean()),
        "std": _plain(mean.std()),
        "structures": {
            name: {"mean": _plain(column.mean()), "std": _plain(column.std())} for name, column in table.items()
        },
        "scans": {
            scan: {name: round(value, 6) for name, value in row.dropna().items()} for scan, row in table.iterrows()
        },
    }


def _table(made: Masked, scores: Scores) -> pd.DataFrame:
    """Test scans by structures, in percent; missing where a scan has no such structure."""
    labels = made.cohort.protocol.labels
    rows = [[100 * by_label.get(label, float("nan")) for label in labels] for by_label in scores.values()]
    return pd.DataFrame(rows, index=list(scores), columns=list(labels.values()))


def _numbers(values: Sequence[float]) -> list[str]:
    return [number(value, _DIGITS) for value in values]


def _plain(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 6)
