"""history.csv: one line a training step."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from regbench.data.files.atomic import write_text

_FIRST = ("step", "seconds", "learning_rate", "total")
_LAST = ("validation",)


class History:
    """The lines of a training, kept in memory and written whole, so that the file never ends within a line.

    Columns: step (from 1), seconds (of training, over all sittings), learning_rate, total (the weighted sum), every
    loss term by name (not weighted), validation (the score after the step, where it was computed).
    """

    def __init__(self, path: Path, terms: Sequence[str]) -> None:
        """An empty history.

        Args:
            path: the file.
            terms: the names of the loss terms that may come.
        """
        self._path = path
        self._columns = (*_FIRST, *terms, *_LAST)
        self._lines = [",".join(self._columns)]
        self._new: list[dict[str, float | int]] = []

    def resume(self, step: int) -> None:
        """Take in what the file holds up to a step; what came after it was lost with its process, and is dropped."""
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                header, *lines = csv.reader(file)
            kept = [",".join(line) for line in lines if int(line[0]) <= step]
        except (OSError, ValueError, IndexError, csv.Error):
            return
        if tuple(header) == self._columns:
            self._lines += kept

    def add(self, values: Mapping[str, float | int]) -> None:
        """Add a line; a column without a value stays empty, a value without a column is left out."""
        self._new.append(dict(values))

    def amend(self, values: Mapping[str, float | int]) -> None:
        """Add values to the last line, if it was added since the last writing."""
        if self._new:
            self._new[-1].update(values)

    def write(self) -> None:
        """Write the file.

        Raises:
            StorageError: where it cannot be written.
        """
        self._lines += [self._line(values) for values in self._new]
        self._new = []
        write_text(self._path, "\n".join([*self._lines, ""]))

    def _line(self, values: Mapping[str, float | int]) -> str:
        cells = (values.get(column) for column in self._columns)
        return ",".join("" if cell is None else f"{cell:.8g}" for cell in cells)
