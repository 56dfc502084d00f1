"""What tells one set of scans from another."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from regbench.api import Scan
from regbench.data.cohorts.cohort import Cohort
from regbench.data.files.inflate import read_inflated
from regbench.data.files.parallel import every
from regbench.errors import DataError


def fingerprint(scans: Iterable[Scan]) -> str:
    """A digest of scan ids and of the content of all their files, whatever the folder or the compression.

    Args:
        scans: in any order.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: with every file that is missing or damaged.
    """
    files = [
        (f"{scan.id}:{role}", path)
        for scan in sorted(scans, key=lambda scan: scan.id)
        for role, path in (("image", scan.image), ("labels", scan.labels), ("landmarks", scan.landmarks))
        if path is not None
    ]
    digests = every(_digest, [path for _, path in files])
    faults = [fault for digest in digests if isinstance(digest, DataError) for fault in digest.faults]
    if faults:
        raise DataError(faults)
    return _of_all((name, str(digest)) for (name, _), digest in zip(files, digests, strict=True))


def masks_fingerprint(cohort: Cohort) -> str | None:
    """A digest of scan ids and of their label maps from a mask source, whatever the order of the scans.

    Args:
        cohort: with masks; those of all scans count.

    Returns:
        64 hexadecimal digits; None for a cohort without masks.
    """
    if cohort.masks is None:
        return None
    maps, scans = cohort.masks.cpu().contiguous().numpy(), sorted(cohort.ids)
    digests = every(lambda scan: hashlib.sha256(maps[cohort.position(scan)]).hexdigest(), scans)
    return _of_all(zip(scans, digests, strict=True))


def _of_all(digests: Iterable[tuple[str, str]]) -> str:
    lines = [f"{name}:{digest}\n" for name, digest in digests]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(path: Path) -> str | DataError:
    try:
        return hashlib.sha256(read_inflated(path)).hexdigest()
    except DataError as error:
        return error
