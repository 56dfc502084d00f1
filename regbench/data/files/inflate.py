"""The bytes of a file, inflated where they are compressed, and back."""

import zlib
from pathlib import Path
from typing import Any

from isal import igzip, isal_zlib

from regbench.errors import DataError

_igzip: Any = igzip
_isal_zlib: Any = isal_zlib
_DAMAGED: tuple[type[Exception], ...] = (igzip.BadGzipFile, zlib.error, _isal_zlib.error)


def read_inflated(path: Path) -> bytes:
    """The content of a file; that of a gzip stream inflated, with its checksum verified.

    A gzip stream is known by its first two bytes, whatever the file is called.

    Raises:
        DataError: for a file that is missing, unreadable, truncated or damaged.
    """
    try:
        content = path.read_bytes()
        return _igzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        fault = "is missing; check its name, or restore it"
    except EOFError:
        fault = "is truncated: its gzip stream ends too early; copy or download it again"
    except _DAMAGED as error:
        fault = f"is damaged: its gzip stream does not inflate ({error}); copy or download it again"
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    raise DataError([f"{path} {fault}."])


def deflated(content: bytes) -> bytes:
    """A gzip stream without a time stamp, so that the same content gives the same bytes."""
    stream: bytes = _igzip.compress(content, compresslevel=2, mtime=0)
    return stream
