"""Every fault of a folder of scans in one go."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from regbench.api import Protocol, Scan, Task
from regbench.data.checks.compare import mirrored, strays, twins
from regbench.data.checks.examine import examine
from regbench.data.files.parallel import every
from regbench.errors import DataError


def check(task: Task, folder: Path, protocol: Protocol | None = None) -> list[str]:
    """Every fault of a folder of scans, each a sentence that names its file.

    Args:
        task: whose layout the folder has.
        folder: the scans.
        protocol: whose scans are looked at; by default all scans of the folder are, and have to be enough for the
            protocol that fits the folder best.

    Returns:
        Nothing if the folder is sound.
    """
    scans, faults = found_scans(task, folder)
    if not scans:
        return faults
    chosen = protocol or fitting_protocol(task, scans)
    faults += missing_scans(chosen, scans, folder)
    wanted = {*chosen.train, *chosen.test} if protocol else set(scans)
    looked_at = [scan for name, scan in scans.items() if name in wanted]
    known = {number for each in (chosen, *task.protocols().values()) for number in each.labels}
    examined = every(partial(examine, known=known), looked_at)
    faults += [fault for one in examined for fault in one.faults]
    return faults + _unlabelled(looked_at) + twins(examined, chosen) + strays(examined, chosen) + mirrored(examined)


def found_scans(task: Task, folder: Path) -> tuple[Mapping[str, Scan], list[str]]:
    """The scans of a folder, and the faults of its layout, which need not keep the scans from being found."""
    try:
        if not folder.is_dir():
            return {}, [f"{folder} is no folder; expected one that holds scans, in the official layout."]
        return task.scans(folder), []
    except DataError as error:
        return error.usable, list(error.faults)
    except OSError as error:
        return {}, [f"{error.filename or folder} cannot be read: {error.strerror}."]


def fitting_protocol(task: Task, scans: Mapping[str, Scan]) -> Protocol:
    """The protocol that lacks fewest of its scans; of several, the one that uses most; then the task's default."""

    def fitness(protocol: Protocol) -> tuple[int, int, bool]:
        wanted = {*protocol.train, *protocol.test}
        return -len(wanted - scans.keys()), len(wanted), protocol.name == task.default_protocol

    return max(task.protocols().values(), key=fitness)


def missing_scans(protocol: Protocol, scans: Mapping[str, Scan], folder: Path) -> list[str]:
    """The protocol's scans that the folder lacks, in a sentence."""
    missing = [scan for scan in (*protocol.train, *protocol.test) if scan not in scans]
    if not missing:
        return []
    listing = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
    return [
        f"{folder} lacks {len(missing)} of the scans that the protocol {protocol.name} names: {listing}; "
        "add them or choose another protocol."
    ]


def _unlabelled(scans: Sequence[Scan]) -> list[str]:
    """Scans without a label map, where others have one."""
    if all(scan.labels is None for scan in scans):
        return []
    return [f"{scan.image} has no label map; the other scans have one." for scan in scans if scan.labels is None]
