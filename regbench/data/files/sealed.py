"""Files with a digest beside them, by which a byte that changed on the disk is seen."""

import hashlib
from pathlib import Path

from regbench.data.files.atomic import write_bytes


def write_sealed(path: Path, content: bytes) -> None:
    """Write a whole file atomically, and its sha256 beside it.

    Raises:
        StorageError: where it cannot be written.
    """
    write_bytes(path, content)
    write_bytes(_seal(path), _sha256(content))


def read_sealed(path: Path) -> bytes:
    """The content of a file; one that an older version wrote has no digest, and is taken as it is.

    Raises:
        OSError: where it cannot be read.
        ValueError: where it is not what was written.
    """
    content, seal = path.read_bytes(), _seal(path)
    if seal.is_file() and seal.read_bytes() != _sha256(content):
        raise ValueError(f"{path} is not what was written")
    return content


def _seal(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
