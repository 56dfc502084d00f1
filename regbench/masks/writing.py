"""Masks as files, in the geometry of the scans that they belong to."""

from pathlib import Path

from regbench.data import Cohort, write_bytes
from regbench.data.cohorts.preprocess import resample_labels
from regbench.data.files.nifti import canonical, nifti_bytes, read_stored
from regbench.data.files.orientation import inverse, turn_array, turn_of
from regbench.errors import DataError


def file_name(scan: str) -> str:
    """The name under which the source "files" looks for a scan's mask.

    >>> file_name("patient001/ED")
    'patient001_ED.nii.gz'
    """
    return f"{scan.replace('/', '_')}.nii.gz"


def write_masks(cohort: Cohort, folder: Path) -> None:
    """Write the mask of every scan of a cohort, in its scan's shape, storage order and affine.

    A voxel takes the label of the nearest voxel of the cohort's grid; what lies outside of that grid is background.

    Args:
        cohort: with masks, and with the scans that it was made from.
        folder: where to; the source "files" reads it as it is.

    Raises:
        DataError: for a cohort without masks, or a scan that cannot be read.
        StorageError: where it cannot be written.
    """
    for scan in cohort.ids:
        mask, source = cohort.mask(scan), cohort.sources[scan]
        if mask is None:
            raise DataError(["The cohort has no masks; take them from a source first."])
        stored = read_stored(source)
        native = canonical(stored, source, "scan").grid
        labels = resample_labels(mask.data.cpu().numpy(), mask.grid, native)
        turned = turn_array(labels, inverse(turn_of(stored.affine)))
        write_bytes(folder / file_name(scan), nifti_bytes(turned, stored.affine, file_name(scan)))
