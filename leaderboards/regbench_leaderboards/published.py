"""The numbers of papers and challenges, one a line of published.csv, and what is doubtful about them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """One number as it was printed elsewhere.

    Attributes:
        task: the task's name.
        protocol: the protocol's name.
        method: the row's name in the source.
        masks: what the method saw, in the source's words.
        metric: "dsc" in percent, or "sdlogj_l2r".
        label: a structure's name, "mean", or "" for a number of the whole case.
        value: as printed.
        std: as printed, or None.
        source: whose number it is.
        where: the table or page.
        note: a remark, or "".
    """

    task: str
    protocol: str
    method: str
    masks: str
    metric: str
    label: str
    value: float
    std: float | None
    source: str
    where: str
    note: str


@cache
def published(task: str, protocol: str) -> tuple[PublishedNumber, ...]:
    """The published numbers of a task and protocol, in the order of the file."""
    return tuple(
        PublishedNumber(
            task=row["task"],
            protocol=row["protocol"],
            method=row["method"],
            masks=row["masks"],
            metric=row["metric"],
            label=row["label"],
            value=float(row["value"]),
            std=float(row["std"]) if row["std"] else None,
            source=row["source"],
            where=row["where"],
            note=row["note"],
        )
        for row in _lines("published.csv")
        if (row["task"], row["protocol"]) == (task, protocol)
    )


@cache
def footnotes(task: str, protocol: str) -> tuple[str, ...]:
    """What a reader of the published numbers has to know."""
    return tuple(
        row["note"]
        for row in _lines("footnotes.csv")
        if row["task"] in (task, "*") and row["protocol"] in (protocol, "*")
    )


def _lines(name: str) -> Iterator[dict[str, str]]:
    with files(__package__).joinpath(name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
