"""A folder of displacement fields as the Learn2Reg challenge takes it, to be read or written.

One file a pair, `disp_FIXED_MOVING.nii.gz`: (i, j, k, 3) in voxels of the fixed scan's file, in the order in which that
file is stored, whatever the field's own header says. Or, as the challenge of 2020 and 2021 took it, an `.npz` with one
array of (3, i, j, k), of full or of half resolution; the values of a half one are in voxels of full resolution all the
same, and its grid is doubled by quadratic interpolation, exactly as the challenge's evaluation does.

Source: the evaluation of the challenge, and its page on submissions, https://learn2reg.grand-challenge.org/Submission/
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import zoom

from regbench.api import Field, Grid, PairId
from regbench.api.grid import times
from regbench.data.cohorts.cohort import Cohort
from regbench.data.files.fields import write_field
from regbench.data.files.nifti import read_stored
from regbench.data.files.orientation import Array, turn_affine, turn_array, turn_of, turn_vectors
from regbench.data.files.parallel import every
from regbench.errors import DataError
from regbench.spatial import resample_displacement

_SUFFIXES = (".nii.gz", ".npz", ".nii")
_MOST = 10

_nibabel: Any = nib


@dataclass(frozen=True, eq=False)
class FieldFolder:
    """Fields that were made elsewhere for the pairs of a cohort.

    Attributes:
        folder: holds the files.
        cohort: whose test pairs they are of.
    """

    folder: Path
    cohort: Cohort

    def field(self, pair: PairId) -> Field:
        """The field of a pair on the cohort's grid and device.

        Raises:
            DataError: for a file that is missing, there twice, damaged, of another shape, or not finite.
        """
        found = self._files(pair)
        if len(found) != 1:
            said = f"there twice, as {' and '.join(f.name for f in found)}; keep one" if found else "missing"
            raise DataError([f"{self.folder / submission_name(pair)} is {said}."])
        scans = [_FileGrid.of(self.cohort.sources[scan]) for scan in pair]
        field = _on_grid(found[0], scans[0], scans[1], self.cohort.image(pair.fixed).grid)
        return Field(field.displacement.to(self.cohort.device), field.grid)

    def digests(self, pairs: list[PairId]) -> list[str]:
        """A digest of each pair's field as it is scored, whatever the files' format.

        Raises:
            DataError: with every fault of the folder.
        """
        missing = [pair for pair in pairs if not self._files(pair)]
        faults = [self._lacks(pairs, missing)] if missing else []
        there = [pair for pair in pairs if pair not in missing]
        read = every(partial(_digest_or_faults, self), there)
        faults += [fault for one in read if isinstance(one, DataError) for fault in one.faults]
        if faults:
            raise DataError(faults)
        return [digest for digest in read if isinstance(digest, str)]

    def _files(self, pair: PairId) -> list[Path]:
        """The pair's files, by its short name or by the challenge's long one (disp_0001_0000_0004_0000)."""
        fixed, moving = (scan.replace("/", "-") for scan in pair)
        stems = (f"disp_{fixed}_{moving}", f"disp_{fixed}_0000_{moving}_0000")
        paths = [self.folder / f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES]
        return [path for path in paths if path.is_file()]

    def _lacks(self, pairs: list[PairId], missing: list[PairId]) -> str:
        if not self.folder.is_dir():
            return f"{self.folder} is no folder; expected one that holds {submission_name(missing[0])} and so on."
        listing = ", ".join(submission_name(pair) for pair in missing[:_MOST])
        more = f" and {len(missing) - _MOST} more" if len(missing) > _MOST else ""
        turned = [pair for pair in missing if self._files(PairId(pair.moving, pair.fixed))]
        hint = "; there are such of the opposite direction: the first name is the fixed scan's" if turned else ""
        return f"{self.folder} lacks the fields of {len(missing)} of {len(pairs)} pairs: {listing}{more}{hint}."


def submission_name(pair: PairId) -> str:
    """The name of a pair's file.

    >>> submission_name(PairId(fixed="0001", moving="0004"))
    'disp_0001_0004.nii.gz'
    """
    return f"disp_{pair.fixed}_{pair.moving}.nii.gz".replace("/", "-")


def write_submission_field(folder: Path, pair: PairId, field: Field, cohort: Cohort) -> bool:
    """Write a field as the challenge takes it: on the grid, and in the storage order, of the fixed scan's file.

    Args:
        folder: where to.
        pair: which.
        field: on the cohort's grid.
        cohort: which knows the files of its scans.

    Returns:
        Whether it had to be resampled because the cohort's grid is not that of the file; its scores then change.

    Raises:
        DataError: if the files of the two scans do not lie on grids of one shape and spacing.
        StorageError: where it cannot be written.
    """
    fixed, moving = (_FileGrid.of(cohort.sources[scan]) for scan in pair)
    _check_alike(fixed, moving)
    as_filed = field.grid.matches(fixed.canonical)
    on_file = field if as_filed else resample_displacement(field, fixed.canonical)
    write_field(folder / submission_name(pair), on_file, like=cohort.sources[pair.fixed])
    return not as_filed


@dataclass(frozen=True, eq=False)
class _FileGrid:
    """The grid of a scan's file as it is stored."""

    path: Path
    grid: Grid

    @classmethod
    def of(cls, path: Path) -> "_FileGrid":
        try:  # the header alone where it can be had alone
            image = _nibabel.load(path)
            shape, affine = image.shape, np.asarray(image.affine, dtype=np.float64)
        except Exception as error:
            raise DataError([f"{path} is no readable image: {error}."]) from error
        return cls(path, Grid(tuple(shape[:3]), affine))

    @property
    def canonical(self) -> Grid:
        """In the order closest to RAS+."""
        turn = turn_of(self.grid.affine)
        i, j, k = (self.grid.shape[axis] for axis in np.argsort(turn[:, 0]).tolist())
        return Grid((i, j, k), turn_affine(self.grid.affine, turn, self.grid.shape))


def _digest_or_faults(fields: FieldFolder, pair: PairId) -> str | DataError:
    try:
        field = fields.field(pair)
    except DataError as error:
        return error
    return hashlib.sha256(field.displacement.cpu().contiguous().numpy().tobytes()).hexdigest()


def _on_grid(path: Path, fixed: _FileGrid, moving: _FileGrid, grid: Grid) -> Field:
    array, affine = _read(path)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise DataError([f"{path} is not finite in {count} of {array.size} values; expected a number everywhere."])
    shape = array.shape[:3]
    own = affine is not None and shape == grid.shape and Grid(grid.shape, affine).matches(grid)
    if path.suffix == ".npz" and tuple(2 * n for n in shape) == fixed.grid.shape:
        array, shape = _doubled(array), fixed.grid.shape
    if shape == fixed.grid.shape and not own:
        return _from_file_grid(array, fixed, moving, grid)
    if shape == grid.shape:
        return _field(array, grid)
    known = {fixed.grid.shape: "the fixed scan's file", grid.shape: "the grid that is scored on"}
    expected = " or ".join(f"{times(one)} ({said})" for one, said in known.items())
    raise DataError([f"{path} is a field on {times(shape)} voxels; expected {expected}."])


def _from_file_grid(array: Array, fixed: _FileGrid, moving: _FileGrid, grid: Grid) -> Field:
    """A field in voxels of the fixed scan's file, brought to the order closest to RAS+ and to the cohort's grid."""
    _check_alike(fixed, moving)
    turn = turn_of(fixed.grid.affine)
    field = _field(turn_vectors(turn_array(array, turn), turn), fixed.canonical)
    return Field(field.displacement, grid) if field.grid.matches(grid) else resample_displacement(field, grid)


def _check_alike(fixed: _FileGrid, moving: _FileGrid) -> None:
    """In voxels, a displacement means the same for both scans only if they have voxels of one size, and as many."""
    one, other = fixed.canonical, moving.canonical
    if one.shape != other.shape or not np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3):
        raise DataError(
            [
                f"{fixed.path.name} has {times(one.shape)} voxels of {times(one.spacing_mm)} mm, {moving.path.name} "
                f"{times(other.shape)} of {times(other.spacing_mm)} mm; a field in voxels of the files needs scans "
                "of one shape and spacing."
            ]
        )


def _read(path: Path) -> tuple[Array, Array | None]:
    """(i, j, k, 3) as stored, and the affine of its header, if it has one."""
    if path.suffix != ".npz":
        stored = read_stored(path)
        return _components_last(stored.array, path, stored.array.shape), stored.affine
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = [content[name] for name in content.files]
    except Exception as error:  # a damaged header makes numpy stumble in more ways than it has exceptions for
        raise DataError([f"{path} is no readable .npz of numbers: {error}."]) from error
    if len(arrays) != 1:
        raise DataError([f"{path} holds {len(arrays)} arrays; expected one, of shape (3, i, j, k)."])
    array = arrays[0]
    if array.ndim == 4 and array.shape[0] == 3:
        array = np.moveaxis(array, 0, -1)
    return _components_last(array, path, arrays[0].shape), None


def _components_last(array: Array, path: Path, shape: tuple[int, ...]) -> Array:
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype.kind not in "iuf":
        kind = "(3, i, j, k)" if path.suffix == ".npz" else "(i, j, k, 3)"
        itk = ", as ITK writes it, in millimetres" if shape[3:] == (1, 3) else ""
        raise DataError(
            [f"{path} holds {array.dtype} of shape {times(shape)}{itk}; expected numbers of shape {kind}, in voxels."]
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the check tells
        return array.astype(np.float32)


def _doubled(array: Array) -> Array:
    """Twice the resolution; the values stay, since they are in voxels of full resolution."""
    doubled: Array = np.stack([zoom(array[..., axis], 2, order=2) for axis in range(3)], axis=-1)
    return doubled


def _field(array: Array, grid: Grid) -> Field:
    return Field(torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0))), grid)
