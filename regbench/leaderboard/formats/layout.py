"""How a sheet is laid out in a given width: narrower gaps, without spare columns, wrapped names, several tables."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from regbench.leaderboard.views.sheet import Sheet

_NARROWEST_NAME = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """One table: which columns, how wide, and how far apart."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    gap: int

    @property
    def width(self) -> int:
        """Of the whole table."""
        return sum(self.widths) + self.gap * (len(self.widths) - 1)


def fit(sheet: Sheet, width: int) -> list[Layout]:
    """The first layout that fits; where none does, several tables that each begin with the names."""
    every = tuple(range(len(sheet.heads)))
    needed = tuple(place for place in every if not sheet.heads[place].is_spare)
    for columns, gap in ((every, 2), (every, 1), (needed, 2), (needed, 1)):
        layout = _squeezed(sheet, columns, gap, width)
        if layout.width <= width:
            return [layout]
    return [_squeezed(sheet, columns, 2, width) for columns in _split(sheet, needed, width)]


def flow(items: Sequence[str], width: int) -> list[str]:
    """Items in lines, none broken unless it is wider than a line.

    >>> flow(["a one", "b two", "c three"], 13)
    ['a one · b two', 'c three']
    """
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 3 + len(item) <= width:
            lines[-1] += f" · {item}"
        else:
            lines.append(item)
    return lines


def wrap_name(name: str, width: int) -> list[str]:
    """A row's name in lines; broken at blanks, or after a bracket or comma, before it is broken anywhere.

    >>> wrap_name("VoxelMorph[integration_steps=7] + truth", 20)
    ['VoxelMorph[', 'integration_steps=7]', '+ truth']
    """
    lines = [""]
    for part in re.split(r"(?<=[\s\[,])", name):
        if len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines if line.strip()]


def _squeezed(sheet: Sheet, columns: Sequence[int], gap: int, width: int) -> Layout:
    """Natural widths, the words wrapped as far as it takes and no further."""
    widths = [_natural(sheet, place) for place in columns]
    excess = sum(widths) + gap * (len(widths) - 1) - width
    texts = sorted((n for n, place in enumerate(columns) if sheet.heads[place].is_text), key=lambda n: -widths[n])
    for n in texts:
        narrowest = min(widths[n], _NARROWEST_NAME) if columns[n] == 0 else _longest_word(sheet, columns[n])
        given = max(0, min(excess, widths[n] - narrowest))
        widths[n] -= given
        excess -= given
    return Layout(tuple(columns), tuple(widths), gap)


def _split(sheet: Sheet, columns: Sequence[int], width: int) -> Iterator[tuple[int, ...]]:
    name, *rest = columns
    used = min(_natural(sheet, name), _NARROWEST_NAME)
    chunk: list[int] = []
    room = width - used
    for place in rest:
        needs = 2 + _natural(sheet, place)
        if chunk and needs > room:
            yield (name, *chunk)
            chunk, room = [], width - used
        chunk.append(place)
        room -= needs
    yield (name, *chunk)


def _natural(sheet: Sheet, place: int) -> int:
    head = sheet.heads[place]
    return _longest([head.name, head.caption, *(row[place].text for row in sheet.rows)])


def _longest_word(sheet: Sheet, place: int) -> int:
    head = sheet.heads[place]
    texts = [head.name, head.caption, *(row[place].text for row in sheet.rows)]
    return _longest(word for text in texts for word in text.split() or [""])


def _longest(texts: Iterable[str]) -> int:
    return max(len(text) for text in texts)
