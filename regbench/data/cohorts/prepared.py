"""A prepared cohort on disk: one file of voxels a scan and kind, memory-mapped when read, and a list that binds them.

Intensities are kept as 16 bit fixed point (65535 is 1): in half the room of float32 a step is 1.5e-5 of the window, a
fortieth of a Hounsfield unit of a window of 1500.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from pydantic import BaseModel, ConfigDict

from regbench.api import Grid, Shape
from regbench.data.files.landmarks import Named
from regbench.data.files.sealed import read_sealed, write_sealed

LAYOUT = 1  # of this module's files; goes up when they change

_LIST = "cohort.json"
_FULL = np.float32(65535)


class StaleError(Exception):
    """A prepared cohort that is incomplete or damaged; it has to be made again."""


class Case(BaseModel):
    """One prepared scan.

    Attributes:
        id: the scan.
        affine: of its grid, (4, 4), row by row.
        landmarks: name → millimetres in RAS+.
        checksums: file name → CRC-32 of its bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    affine: tuple[tuple[float, float, float, float], ...]
    landmarks: Named = {}
    checksums: dict[str, int]


class Listing(BaseModel):
    """What a prepared cohort holds.

    Attributes:
        fingerprint: of the scans that it was made from.
        shape: of every grid.
        labelled: whether there are label maps.
        cases: in the order of the protocol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    shape: Shape
    labelled: bool
    cases: tuple[Case, ...]

    def grids(self) -> tuple[Grid, ...]:
        """The grid of every case."""
        return tuple(Grid(self.shape, np.array(case.affine)) for case in self.cases)


def write_case(
    folder: Path,
    position: int,
    scan: str,
    grid: Grid,
    image: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8] | None,
    landmarks: Named,
) -> Case:
    """Write the voxels of one scan into a folder that is being filled."""
    fixed_point = np.rint(image * _FULL).astype(np.uint16)
    checksums = {_name(position, "image"): _write_array(folder / _name(position, "image"), fixed_point)}
    if labels is not None:
        checksums[_name(position, "labels")] = _write_array(folder / _name(position, "labels"), labels)
    return Case(id=scan, affine=grid.affine.tolist(), landmarks=landmarks, checksums=checksums)


def write_listing(folder: Path, listing: Listing) -> None:
    """Write the list that binds a prepared cohort's files, as the last of them."""
    write_sealed(folder / _LIST, listing.model_dump_json(indent=1).encode())


def read_listing(folder: Path) -> Listing:
    """The list of a prepared cohort.

    Raises:
        StaleError: where it is missing or damaged.
    """
    try:
        return Listing.model_validate_json(read_sealed(folder / _LIST))
    except (OSError, ValueError) as error:
        raise StaleError(str(error)) from error


def read_case(
    folder: Path,
    position: int,
    case: Case,
    image: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8] | None,
) -> None:
    """Read the voxels of one scan straight into the cohort's memory.

    Args:
        folder: the prepared cohort.
        position: the scan's place in it.
        case: its line of the list.
        image: (i, j, k), written to.
        labels: (i, j, k), written to; None where there are none.

    Raises:
        StaleError: where a file is missing or is not what was written.
    """
    np.divide(_map_array(folder, _name(position, "image"), case, image.shape, np.uint16), _FULL, out=image)
    if labels is not None:
        labels[...] = _map_array(folder, _name(position, "labels"), case, labels.shape, np.uint8)


def _name(position: int, kind: str) -> str:
    return f"{position:04d}-{kind}.npy"


def _write_array(path: Path, array: npt.NDArray[Any]) -> int:
    """Write an array and give its file's checksum; through a buffer, since numpy hides why a write failed."""
    buffer = BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
    return int(isal_zlib.crc32(buffer.getbuffer()))


def _map_array(folder: Path, name: str, case: Case, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    try:
        content = np.memmap(folder / name, np.uint8, "r")
        if isal_zlib.crc32(content) != case.checksums[name]:
            raise StaleError(f"{name} is not what was written")
        array: npt.NDArray[Any] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError) as error:
        raise StaleError(f"{name}: {error}") from error
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise StaleError(f"{name} holds {array.dtype} of shape {array.shape}")
    return array
