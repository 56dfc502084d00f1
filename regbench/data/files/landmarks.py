"""Landmark files."""

import csv
import math
from io import StringIO
from pathlib import Path

from regbench.data.files.inflate import read_inflated
from regbench.errors import DataError

Named = dict[str, tuple[float, float, float]]

_COLUMNS = ("name", "x", "y", "z")


def read_landmarks(path: Path) -> Named:
    """Name → millimetres in RAS+, from a CSV file with the columns name, x, y, z.

    Raises:
        DataError: for a file that is missing or of another layout, a name that stands twice, a number that is none.
    """
    try:
        rows = list(csv.DictReader(StringIO(read_inflated(path).decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError([f"{path} is no CSV file: {error}; expected the columns name, x, y, z."]) from error
    points: Named = {}
    for number, row in enumerate(rows, start=2):
        if not set(_COLUMNS) <= row.keys():
            raise DataError([f"{path} has the columns {', '.join(map(str, row))}; expected name, x, y, z."])
        name = row["name"]
        if name in points:
            raise DataError([f"{path} names the landmark '{name}' twice; names have to be unique."])
        points[name] = _point(row, path, number)
    return points


def _point(row: dict[str, str], path: Path, line: int) -> tuple[float, float, float]:
    try:
        x, y, z = (float(row[axis]) for axis in _COLUMNS[1:])
    except (TypeError, ValueError):
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise DataError([f"{path}, line {line}: expected three numbers (millimetres) for the landmark."])
    return x, y, z
