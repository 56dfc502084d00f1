"""cases.csv: one line a pair, metric and label; every mean and every test is computed from it."""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from regbench.api import PairId
from regbench.data.files.atomic import write_text
from regbench.errors import StorageError


class CaseRow(NamedTuple):
    """One value.

    Attributes:
        pair: both scans in one word, as in the field's file name.
        fixed: scan id.
        moving: scan id.
        metric: its name in the registry.
        label: the structure's number; None for a value of the whole pair.
        value: in the metric's unit.
    """

    pair: str
    fixed: str
    moving: str
    metric: str
    label: int | None
    value: float


def pair_name(pair: PairId) -> str:
    """A pair in one word that may be part of a file name: FIXED_MOVING, a scan's slash as a dash.

    >>> pair_name(PairId(fixed="patient007/ES", moving="patient007/ED"))
    'patient007-ES_patient007-ED'
    """
    return f"{pair.fixed}_{pair.moving}".replace("/", "-")


def write_cases(path: Path, rows: Iterable[CaseRow]) -> None:
    """Write the file, atomically; a value is written with all its digits.

    Raises:
        StorageError: where it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CaseRow._fields)
    writer.writerows(row._replace(value=repr(float(row.value))) for row in rows)  # type: ignore[arg-type]
    write_text(path, text.getvalue())


def read_cases(path: Path, digest: str | None = None) -> list[CaseRow]:
    """Read the file.

    Args:
        path: the file.
        digest: the sha256 that its record has; None: whatever it is.

    Raises:
        StorageError: where it cannot be read, is something else, or was changed after its run wrote it.
    """
    try:
        content = path.read_bytes()
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise StorageError(
                f"{path} was changed after its run wrote it: its sha256 is not that of the record; restore it, or "
                "repeat its run with --force."
            )
        return _rows(list(csv.reader(io.StringIO(content.decode(), newline=""))))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise StorageError(
            f"{path} is no file of cases: {error}; restore it, or repeat its run with --force."
        ) from error


def _rows(lines: list[list[str]]) -> list[CaseRow]:
    if not lines or tuple(lines[0]) != CaseRow._fields:
        raise ValueError(f"its first line is not {','.join(CaseRow._fields)}")
    return [
        CaseRow(pair, fixed, moving, metric, int(label) if label else None, float(value))
        for pair, fixed, moving, metric, label, value in lines[1:]
    ]
