"""One scan's files, looked at for everything that could be wrong with them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from regbench.api import Grid, Scan, Volume
from regbench.data.checks.agreement import Opened, disagreement
from regbench.data.checks.placement import Placement
from regbench.data.files.landmarks import read_landmarks
from regbench.data.files.nifti import Kind, canonical, read_stored
from regbench.errors import DataError

T = TypeVar("T")

_isal_zlib: Any = isal_zlib


@dataclass
class Examined:
    """What was found.

    Attributes:
        scan: its files.
        faults: one sentence a fault.
        contents: file → digest of its voxels; files that could not be read or hold nothing are left out.
        placement: where the image lies; None where it could not be read.
        centroids: label → mean position in millimetres, RAS+.
    """

    scan: Scan
    faults: list[str] = field(default_factory=list)
    contents: dict[Path, str] = field(default_factory=dict)
    placement: Placement | None = None
    centroids: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)

    def attempt(self, work: Callable[..., T], *arguments: object) -> T | None:
        """The work's result; None where it fails, with the faults noted."""
        try:
            return work(*arguments)
        except DataError as error:
            self.faults.extend(error.faults)
            return None


def examine(scan: Scan, known: Collection[int]) -> Examined:
    """Read all files of a scan and note every fault.

    Args:
        scan: its files.
        known: label numbers that a label map may hold.
    """
    found = Examined(scan)
    image = found.attempt(_open, scan.image, "scan")
    if image is not None:
        found.placement = image.placement
        _examine_intensities(found, image.volume)
    labels = found.attempt(_open, scan.labels, "labels") if scan.labels is not None else None
    if scan.labels is not None and labels is not None:
        _examine_labels(found, labels.volume, scan.labels, known)
        said = disagreement(image, labels) if image is not None else None
        if said:
            found.faults.append(f"{scan.labels} disagrees with its image {scan.image.name}: {said}.")
    if scan.landmarks is not None:
        found.attempt(read_landmarks, scan.landmarks)
    return found


def _open(path: Path, kind: Kind) -> Opened:
    stored = read_stored(path)
    volume = canonical(stored, path, kind)
    return Opened(stored, volume, Placement.of(stored, volume.grid))


def _examine_intensities(found: Examined, image: Volume) -> None:
    values, path = image.data.numpy(), found.scan.image
    strange = values.size - int(np.isfinite(values).sum())
    if strange:
        found.faults.append(f"{path} holds {strange} voxels that are NaN or infinite; each has to be a number.")
    elif values.size == 0 or values.min() == values.max():
        found.faults.append(f"{path} holds the same value in every voxel; a scan has to show something.")
    else:
        found.contents[path] = _digest(image)


def _examine_labels(found: Examined, labels: Volume, path: Path, known: Collection[int]) -> None:
    values = labels.data.numpy()
    counts = np.bincount(values.ravel(), minlength=256)
    strange = [(number, count) for number, count in enumerate(counts.tolist()) if count and number not in {0, *known}]
    if strange:
        listing = ", ".join(f"{number} ({count} voxels)" for number, count in strange[:5])
        found.faults.append(f"{path} holds labels out of range: {listing}; expected 0 to {max(known)}.")
    present = [number for number in sorted(known) if counts[number]]
    if not present:
        found.faults.append(f"{path} is empty: no voxel has one of the task's labels.")
        return
    found.contents[path] = _digest(labels)
    found.centroids = _centroids(values, counts, present, labels.grid)


def _digest(volume: Volume) -> str:
    """Two checksums: enough to tell the files of one folder apart, at memory speed."""
    content = volume.data.numpy()
    return f"{volume.grid.shape} {_isal_zlib.crc32(content):08x} {_isal_zlib.adler32(content):08x}"


def _centroids(
    values: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64], present: list[int], grid: Grid
) -> dict[int, npt.NDArray[np.float64]]:
    places = np.flatnonzero(values)
    labels = values.ravel()[places]
    coordinates = np.unravel_index(places, values.shape)
    means = [np.bincount(labels, weights=axis, minlength=256)[present] / counts[present] for axis in coordinates]
    return dict(zip(present, grid.to_world(np.stack(means, -1)), strict=True))
