"""Whether a label map lies on what its image shows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regbench.api import Volume
from regbench.data.checks.placement import Placement
from regbench.data.files.nifti import Stored


@dataclass(frozen=True, eq=False)
class Opened:
    """A file that was read.

    Attributes:
        stored: as the file has it.
        volume: in the order closest to RAS+.
        placement: where it lies.
    """

    stored: Stored
    volume: Volume
    placement: Placement


def disagreement(image: Opened, labels: Opened) -> str | None:
    """How the place of a label map differs from that of its image, in words; None if it does not."""
    return labels.placement.difference(image.placement) or _orientation_fault(image, labels)


def _orientation_fault(image: Opened, labels: Opened) -> str | None:
    """What is wrong with two headers that name different storage orders of one grid.

    Such files are well if each was stored as its header says. If only a header was changed, then the voxels fit each
    other as they are stored, and not as the headers have it.
    """
    here, there = labels.placement.orientation, image.placement.orientation
    if here == there or image.stored.array.shape != labels.stored.array.shape:
        return None
    as_stored = misfit(image.stored.array, labels.stored.array)
    as_said = misfit(image.volume.data.numpy(), labels.volume.data.numpy())
    if not as_said > as_stored:  # nor where one of them is not a number
        return None
    return (
        f"its orientation is {here}, not {there}, yet the voxels of the two fit each other only in the order in which "
        "they are stored; one of the two headers is wrong"
    )


def misfit(image: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> float:
    """How badly labels fit what an image shows: a product of two ratios, neither of which has a unit.

    Each alone is misled by some of the hearts of ACDC, where a third of the labelled volume may lie over an even lung.

    Args:
        image: (i, j, k) intensities, any real type.
        labels: (i, j, k) label numbers from 0 (background) to 255.

    Returns:
        The share of the labelled voxels' variance that the labels leave unexplained, times the mean step between
        neighbouring voxels of one label over that across a label's border. 0 where nothing is labelled.
    """
    return _unexplained(image, labels) * _step_ratio(image, labels)


def _unexplained(image: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> float:
    inside = labels != 0
    numbers = labels[inside].astype(np.uint8)
    if not numbers.size:
        return 0.0
    values = image[inside].astype(np.float64)
    count = np.maximum(np.bincount(numbers, minlength=256), 1)
    mean = np.bincount(numbers, values, 256) / count
    return _ratio(float(((values - mean[numbers]) ** 2).mean()), float(values.var()))


def _step_ratio(image: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> float:
    within, across = _Mean(), _Mean()
    for axis in range(3):
        numbers = np.moveaxis(labels, axis, 0)
        steps = np.abs(np.diff(np.moveaxis(image, axis, 0).astype(np.float64), axis=0))
        same = numbers[1:] == numbers[:-1]
        within.add(steps[same & (numbers[1:] != 0)])
        across.add(steps[~same])
    return _ratio(within.value, across.value)


@dataclass
class _Mean:
    """Of values that come in parts."""

    total: float = 0.0
    count: int = 0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        self.total += float(values.sum())
        self.count += values.size

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)


def _ratio(one: float, other: float) -> float:
    """Of two numbers that are not negative; 1 where the image is so even that it says nothing."""
    return one / other if other else 1.0
