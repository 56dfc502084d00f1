"""A printed table, before it is known how it will be printed: terminal, Markdown, LaTeX or a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Literal

Mark = Literal["best", "second"]
Better = Literal["higher", "lower"] | None
EMPTY = "–"
YES = "✓"


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column.

    Attributes:
        name: its name, short.
        unit: below the name; may be empty.
        better: which way is up, or None where there is no better.
        meaning: the name spelled out, for the legend; empty where it needs none.
        is_text: words, not numbers: set to the left, and wrapped.
        is_spare: stands elsewhere, too, and goes first where there is no room.
    """

    name: str
    unit: str = ""
    better: Better = None
    meaning: str = ""
    is_text: bool = False
    is_spare: bool = False

    @property
    def arrow(self) -> str:
        """An arrow that points to the better side, or nothing."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    @property
    def caption(self) -> str:
        """Unit and arrow."""
        return f"{self.unit} {self.arrow}".strip()


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as printed.

    Attributes:
        text: what stands in it.
        mark: best or second of its column.
    """

    text: str
    mark: Mark | None = None


@dataclass(frozen=True)
class Sheet:
    """A table with its title and what is to be said below it.

    Attributes:
        title: above the table.
        heads: of the columns.
        rows: one cell a column.
        notes: one sentence or two each.
        is_published: its numbers come from elsewhere.
    """

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    is_published: bool = False

    @property
    def legend(self) -> list[str]:
        """The abbreviations of the heads, spelled out."""
        return legend(self.heads)


def legend(heads: Iterable[Head]) -> list[str]:
    """The abbreviations of some heads, spelled out."""
    return [f"{head.name}: {head.meaning}" for head in heads if head.meaning.lower() not in ("", head.name.lower())]


def sheet(title: str, columns: Sequence[tuple[Head, Sequence[Cell]]], notes: Sequence[str]) -> Sheet:
    """A sheet from its columns."""
    return Sheet(
        title=title,
        heads=tuple(head for head, _ in columns),
        rows=tuple(zip(*(cells for _, cells in columns), strict=True)),
        notes=tuple(notes),
    )


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals, or a dash where there is none.

    >>> number(12.345, 1), number(float("nan"), 1), number(-0.0001, 2)
    ('12.3', '–', '0.00')
    """
    if value is None or isnan(value):
        return EMPTY
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def significant(value: float | None) -> str:
    """A number with about three digits.

    >>> significant(0.01234), significant(1.234), significant(123.4), significant(None)
    ('0.012', '1.23', '123', '–')
    """
    if value is None or isnan(value):
        return EMPTY
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def marked(texts: Sequence[str], ranked: Sequence[bool], *, better: Better) -> list[Cell]:
    """A column's cells, the best of the ranked ones marked, and the second where three or more are ranked.

    Values that print alike are marked alike; where several are best, nothing is second, and where all are, nothing is
    marked.

    Args:
        texts: the printed numbers; what follows a first blank (a spread) does not count.
        ranked: which of them compete.
        better: which way is up.
    """
    cells = [Cell(text) for text in texts]
    competing = [n for n, (text, counts) in enumerate(zip(texts, ranked, strict=True)) if counts and text != EMPTY]
    values = {n: float(texts[n].split()[0]) for n in competing}
    order = sorted(set(values.values()), reverse=better == "higher")
    if better is None or len(order) < 2:
        return cells
    places: list[tuple[Mark, float]] = [("best", order[0])]
    if len(values) > 2 and list(values.values()).count(order[0]) == 1:
        places.append(("second", order[1]))
    for mark, place in places:
        for n in (n for n, value in values.items() if value == place):
            cells[n] = replace(cells[n], mark=mark)
    return cells


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "pair"), counted(6, "pair")
    ('1 pair', '6 pairs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
