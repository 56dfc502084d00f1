"""The card that every plugin carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Where a plugin comes from, and what a reader of its numbers has to know.

    Attributes:
        title: the name in words, as a table prints it.
        summary: one sentence: what it is.
        citation: BibTeX, empty where there is nothing to cite.
        origin: the paper or the repository with its commit.
        licence: the licence of the origin; regbench's own code is Apache-2.0.
        differs: one sentence for each thing that differs from the paper or the official code.
        trained_on: the data that shipped weights have seen; empty for what regbench trains itself.
    """

    title: str
    summary: str
    citation: str = ""
    origin: str = ""
    licence: str = ""
    differs: tuple[str, ...] = ()
    trained_on: str = ""
