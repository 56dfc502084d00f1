"""From a folder of scans to a cohort on the device, by way of a cache on disk."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from regbench.api import Grid, Protocol, Scan, Task
from regbench.data.checks.check import check, found_scans, missing_scans
from regbench.data.cohorts.cohort import Cohort, Points
from regbench.data.cohorts.fingerprints import fingerprint
from regbench.data.cohorts.prepared import (
    LAYOUT,
    Case,
    Listing,
    StaleError,
    read_case,
    read_listing,
    write_case,
    write_listing,
)
from regbench.data.cohorts.preprocess import VERSION, only_labels, resample_labels, resample_scan, to_unit
from regbench.data.files.atomic import remove_folder, replacing_folder
from regbench.data.files.folders import cache_folder, note_use
from regbench.data.files.landmarks import read_landmarks
from regbench.data.files.nifti import read_volume
from regbench.data.files.parallel import every
from regbench.errors import DataError, RunError, StorageError, lacks_memory

Done = Callable[[int, int], None]


def load_cohort(
    task: Task,
    folder: Path,
    protocol: Protocol,
    *,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    done: Done | None = None,
) -> Cohort:
    """The whole cohort of a protocol on a device; no file is opened after that.

    Args:
        task: whose layout the folder has.
        folder: the scans.
        protocol: which scans, on which grid; `protocol.at(shape)` for another number of voxels.
        device: where to hold it.
        cache: where prepared cohorts are kept; by default regbench's cache folder.
        done: called with how many of how many scans are prepared, where they have to be.

    Raises:
        DataError: with every fault of the folder.
        StorageError: where the cache cannot be written.
        RunError: where the device does not take it.
    """
    scans = _protocol_scans(task, folder, protocol)
    for _ in range(3):
        entry = prepare(task, folder, protocol, cache=cache, done=done)
        try:
            return _read(entry, protocol, scans).to(device)
        except StaleError:
            remove_folder(entry)
        except (MemoryError, RuntimeError) as error:  # torch's is of a GPU that is full, busy or older than it
            if torch.device(device).type == "cpu" and not lacks_memory(error):
                raise
            said = str(error).partition("\n")[0].rstrip(".")
            raise RunError(
                f"The scans cannot be held on {device}: {said}; try a smaller grid or another device."
            ) from error
    raise StorageError(f"{entry} does not stay as it was written; is its disk sound, or another process at work on it?")


def prepare(
    task: Task, folder: Path, protocol: Protocol, *, cache: Path | None = None, done: Done | None = None
) -> Path:
    """Check and preprocess the scans of a protocol, unless that was done before.

    The result is kept under a digest of the content of the files, of the protocol's scans, grid, labels, intensity
    rule and revision, and of the version of the preprocessing. Two processes that prepare the same cohort at once both
    succeed.

    Args:
        task: whose layout the folder has.
        folder: the scans.
        protocol: which scans, on which grid.
        cache: where prepared cohorts are kept; by default regbench's cache folder.
        done: called with how many of how many scans are prepared.

    Returns:
        The folder of the prepared cohort.

    Raises:
        DataError: with every fault of the folder.
        StorageError: where the cache cannot be written.
    """
    scans = _protocol_scans(task, folder, protocol)
    try:
        digest = fingerprint(scans.values())
    except DataError as error:
        raise DataError(check(task, folder, protocol) or error.faults) from error
    entry = (cache or cache_folder()) / "cohorts" / f"{_entry_name(protocol)}-{_key(protocol, digest)}"
    if entry.is_dir():
        note_use(entry)
        return entry
    faults = check(task, folder, protocol)
    if faults:
        raise DataError(faults)
    with replacing_folder(entry) as temporary:
        labelled = any(scan.labels for scan in scans.values())
        jobs = [(temporary, position, scan, protocol) for position, scan in enumerate(scans.values())]
        cases = every(_prepare_case, jobs, done)
        write_listing(
            temporary,
            Listing(fingerprint=digest, shape=protocol.grid.shape, labelled=labelled, cases=tuple(cases)),
        )
    return entry


def _entry_name(protocol: Protocol) -> str:
    return f"{protocol.task}-{protocol.name}-{'x'.join(map(str, protocol.grid.shape))}"


def _protocol_scans(task: Task, folder: Path, protocol: Protocol) -> Mapping[str, Scan]:
    """The protocol's scans in its order; the layout is checked at every call, since no fingerprint covers it."""
    scans, faults = found_scans(task, folder)
    faults += missing_scans(protocol, scans, folder)
    if faults:
        raise DataError(check(task, folder, protocol) or faults)
    return {scan: scans[scan] for scan in (*protocol.train, *protocol.test)}


def _key(protocol: Protocol, digest: str) -> str:
    fields = {"train", "test", "labels", "grid", "intensity", "revision"}
    parts = [LAYOUT, VERSION, digest, protocol.model_dump(mode="json", include=fields)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _prepare_case(job: tuple[Path, int, Scan, Protocol]) -> Case:
    folder, position, scan, protocol = job
    image = read_volume(scan.image)
    grid = protocol.grid.target(image.grid)
    unit = resample_scan(to_unit(image.data.numpy(), protocol.intensity), image.grid, grid)
    labels = None
    if scan.labels is not None:
        wanted = only_labels(read_volume(scan.labels, "labels").data.numpy(), protocol.labels)
        labels = resample_labels(wanted, image.grid, grid)
    landmarks = read_landmarks(scan.landmarks) if scan.landmarks else {}
    return write_case(folder, position, scan.id, grid, unit, labels, landmarks)


def _read(entry: Path, protocol: Protocol, scans: Mapping[str, Scan]) -> Cohort:
    listing = read_listing(entry)
    shape = (len(listing.cases), 1, *listing.shape)
    images = torch.empty(shape, dtype=torch.float32)
    labels = torch.empty(shape, dtype=torch.uint8) if listing.labelled else None

    def read(position: int) -> None:
        here = None if labels is None else labels[position, 0].numpy()
        read_case(entry, position, listing.cases[position], images[position, 0].numpy(), here)

    every(read, range(len(listing.cases)))
    return Cohort(
        protocol=protocol,
        ids=tuple(scans),
        images=images,
        labels=labels,
        grids=listing.grids(),
        landmarks={
            case.id: _points(case, grid)
            for case, grid in zip(listing.cases, listing.grids(), strict=True)
            if case.landmarks
        },
        sources={scan: files.image for scan, files in scans.items()},
        fingerprint=listing.fingerprint,
    )


def _points(case: Case, grid: Grid) -> Points:
    index = grid.to_index(np.array(list(case.landmarks.values())))
    return Points(tuple(case.landmarks), torch.from_numpy(index).float())
