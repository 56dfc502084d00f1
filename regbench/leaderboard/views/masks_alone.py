"""The rows "masks alone": what the masks that methods see at test are worth without any registration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.measured import mean_over
from regbench.leaderboard.naming import specified
from regbench.leaderboard.views.columns import SPREAD, UPPER_BOUND
from regbench.leaderboard.views.sheet import EMPTY, Cell, Sheet, number
from regbench.results import MasksRecord

_NOTE = (
    "Masks alone: DSC of the fixed scans' masks with their truth, without any registration; rows that see those masks "
    "at test are to be read beside it."
)


@dataclass(frozen=True, eq=False)
class MasksAlone:
    """The masks of one source.

    Attributes:
        name: as the table prints it.
        masks: the source as the runs recorded it.
        values: (pairs, labels) Dice of the fixed scan's mask with its truth, in percent; NaN where it has no such
            structure.
    """

    name: str
    masks: MasksRecord
    values: Float[np.ndarray, "pairs labels"]

    @property
    def mean(self) -> float:
        """Over pairs, of the mean over labels."""
        return float(mean_over(mean_over(self.values, axis=1), axis=0))

    @property
    def std(self) -> float:
        """Over pairs (n − 1), of the mean over labels; NaN with fewer than two pairs."""
        values = mean_over(self.values, axis=1)
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    @property
    def by_label(self) -> Sequence[float]:
        """The mean over pairs of each label."""
        means: list[float] = mean_over(self.values, axis=0).tolist()
        return means


def all_masks_alone(board: Board) -> list[MasksAlone]:
    """One for each source, as configured, whose masks some row saw at test, as far as its runs have recorded them.

    Masks that were made more than once and came out otherwise, on two machines say, count like seeds: each pair's and
    label's value is the mean over them.
    """
    makings: dict[str, MasksRecord] = {}
    for row in board.rows:
        for masks in (run.masks for run in row.runs if run.masks and run.masks.alone):
            makings.setdefault(masks.model_dump_json(include={"title", "saw_test_labels", "alone"}), masks)
    sources: dict[str, list[MasksRecord]] = {}
    for masks in makings.values():
        source = masks.model_dump_json(include={"title", "saw_test_labels", "configuration"})
        sources.setdefault(source, []).append(masks)
    among = [masks for masks, *_ in sources.values()]
    return [MasksAlone(_name(same[0], among), same[0], _values(board, same)) for same in sources.values()]


def beside(sheet: Sheet, board: Board, *, structures: bool) -> Sheet:
    """A sheet with the rows "masks alone" below Initial.

    Args:
        sheet: with the names first, and then each structure's DSC, the mean and what else; or the mean and what else.
        board: its board.
        structures: whether it has the columns of the structures.
    """
    alone = all_masks_alone(board)
    if not alone:
        return sheet
    digits = board.metrics[PRIMARY].digits
    rows = []
    for each in alone:
        texts = [each.name, *([number(mean, digits) for mean in each.by_label] if structures else [])]
        texts.append(f"{number(each.mean, digits)}{SPREAD}{number(each.std, digits)}")
        rows.append(tuple(Cell(text) for text in [*texts, *[EMPTY] * (len(sheet.heads) - len(texts))]))
    first = 0 if board.initial is None else 1
    return replace(sheet, rows=(*sheet.rows[:first], *rows, *sheet.rows[first:]), notes=(*sheet.notes, _NOTE))


def _name(masks: MasksRecord, among: Sequence[MasksRecord]) -> str:
    namesakes = [other.configuration for other in among if other.title == masks.title]
    mark = f" {UPPER_BOUND}" if masks.saw_test_labels else ""
    return f"Masks alone: {specified(masks.title, masks.configuration, namesakes)}{mark}"


def _values(board: Board, makings: Sequence[MasksRecord]) -> Float[np.ndarray, "pairs labels"]:
    labels = board.protocol.labels
    each = [[masks.alone.get(pair.fixed, {}) for pair in board.protocol.test_pairs] for masks in makings]
    values = [[[by_label.get(label, np.nan) for label in labels] for by_label in scores] for scores in each]
    return mean_over(np.array(values), axis=0)
