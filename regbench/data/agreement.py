"""Whether a label map lies on what its image shows."""

import numpy as np
import numpy.typing as npt

from regbench.api import Volume
from regbench.data.nifti import Stored
from regbench.data.orientation import codes


def orientation_fault(image: tuple[Stored, Volume], labels: tuple[Stored, Volume]) -> str | None:
    """What is wrong with two headers that name different storage orders, in words; None where nothing is.

    Such files are well if each was stored as its header says. If only a header was changed, then the voxels fit each
    other as they are stored, and not as the headers have it: within one label the intensities spread more widely.
    """
    orders = [codes(stored.affine) for stored, _ in (image, labels)]
    if orders[0] == orders[1] or image[0].array.shape != labels[0].array.shape:
        return None
    as_stored = spread(image[0].array, labels[0].array)
    as_said = spread(image[1].data.numpy(), labels[1].data.numpy())
    if not as_said > as_stored:  # nor where one of them is not a number
        return None
    return (
        f"its orientation is {orders[1]}, not {orders[0]}, yet the voxels of the two fit each other only in the order "
        "in which they are stored; one of the two headers is wrong"
    )


def spread(image: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> float:
    """Variance of the intensities within a label, in the mean over all labelled voxels.

    Args:
        image: (i, j, k) intensities, any real type.
        labels: (i, j, k) label numbers from 0 (left out) to 255.
    """
    inside = labels != 0
    numbers = labels[inside].astype(np.uint8)
    if not numbers.size:
        return 0.0
    values = image[inside].astype(np.float64)
    count = np.maximum(np.bincount(numbers, minlength=256), 1)
    mean = np.bincount(numbers, values, 256) / count
    return float(((values - mean[numbers]) ** 2).mean())
