"""Sheets as a page shows them: every column can be sorted, numbers can be tinted."""

import re
from dataclasses import dataclass

from regbench.leaderboard.views.columns import SPREAD
from regbench.leaderboard.views.sheet import EMPTY, YES, Sheet

_NUMBER = re.compile(r"[<+]?(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class HeadView:
    """A column's head.

    Attributes:
        name: short.
        caption: unit and arrow.
        meaning: spelled out, for a tooltip.
        is_text: set to the left, sorted by the alphabet.
        falls: whether the first click puts the largest on top.
    """

    name: str
    caption: str
    meaning: str
    is_text: bool
    falls: bool


@dataclass(frozen=True, slots=True)
class CellView:
    """A cell.

    Attributes:
        value: what stands in it, without its spread.
        spread: " ± …", or nothing.
        mark: "best", "second" or nothing.
        key: what it is sorted by: a number, a word, or nothing for an empty cell.
        tint: how strongly it is tinted, from 0 to 1; None where it is not.
    """

    value: str
    spread: str
    mark: str
    key: str
    tint: float | None


@dataclass(frozen=True, slots=True)
class TableView:
    """A table with what stands above and below it."""

    title: str
    heads: tuple[HeadView, ...]
    rows: tuple[tuple[CellView, ...], ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]
    is_published: bool


def table(sheet: Sheet, *, tinted: bool = False) -> TableView:
    """A sheet for a page.

    Args:
        sheet: the sheet.
        tinted: whether columns are tinted from the lowest number to the highest, but those where lower is better.
    """
    heads = tuple(
        HeadView(head.name, head.caption, head.meaning, head.is_text, head.better != "lower") for head in sheet.heads
    )
    tints = [_tints(sheet, place) if tinted else [None] * len(sheet.rows) for place in range(len(sheet.heads))]
    rows = tuple(
        tuple(
            CellView(
                *_parted(cell.text), cell.mark or "", sort_key(cell.text, is_text=head.is_text), tints[place][line]
            )
            for place, (cell, head) in enumerate(zip(row, sheet.heads, strict=True))
        )
        for line, row in enumerate(sheet.rows)
    )
    return TableView(sheet.title, heads, rows, tuple(sheet.legend), sheet.notes, sheet.is_published)


def sort_key(text: str, *, is_text: bool) -> str:
    """What a cell is sorted by.

    >>> sort_key("71.4 ± 6.8", is_text=False), sort_key("<0.001", is_text=False), sort_key("Ours", is_text=True)
    ('71.4', '0.0009', 'ours')
    >>> sort_key("–", is_text=False), sort_key("✓", is_text=False), sort_key("best", is_text=False)
    ('', '1', '0')
    """
    if is_text:
        return text.lower()
    if text in (EMPTY, ""):
        return ""
    if text == YES:
        return "1"
    found = _NUMBER.match(text)
    if found is None:  # a difference to itself
        return "0"
    return f"{float(found[1]) * 0.9:g}" if text.startswith("<") else found[1]


def _parted(text: str) -> tuple[str, str]:
    value, blank, spread = text.partition(SPREAD)
    return value, blank + spread


def _tints(sheet: Sheet, place: int) -> list[float | None]:
    head = sheet.heads[place]
    if head.is_text or head.better == "lower":
        return [None] * len(sheet.rows)
    keys = [sort_key(row[place].text, is_text=False) for row in sheet.rows]
    values = [float(key) for key in keys if key]
    if not values or min(values) == max(values):
        return [None] * len(keys)
    low, high = min(values), max(values)
    return [(float(key) - low) / (high - low) if key else None for key in keys]
