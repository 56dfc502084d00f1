"""The row "masks alone": how well masks agree with the truth, with no registration in between."""

from collections.abc import Mapping

from regbench.data import Cohort
from regbench.errors import DataError
from regbench.metrics import dsc


def masks_alone(cohort: Cohort) -> Mapping[str, Mapping[int, float]]:
    """The Dice coefficient of each structure's mask with its truth, from 0 to 1.

    A method that looks at masks at test has to be read beside it.

    Args:
        cohort: with masks.

    Returns:
        Test scan → label → coefficient; 0 where the mask misses a structure, left out where the scan has none.

    Raises:
        DataError: for a cohort without masks or without labels.
    """
    if cohort.labels is None:
        raise DataError(["The cohort has no label maps, which masks are compared with."])
    scores: dict[str, Mapping[int, float]] = {}
    for scan in cohort.protocol.test:
        mask, truth = cohort.mask(scan), cohort.label_map(scan)
        if mask is None:
            raise DataError(["The cohort has no masks; take them from a source first."])
        scores[scan] = dsc(truth.data, mask.data, cohort.protocol.labels, moving=truth.data)
    return scores
