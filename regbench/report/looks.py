"""How a row looks in every plot of a page: colours that the colour-blind tell apart, and a marker beside each."""

from collections.abc import Sequence
from dataclasses import dataclass

from regbench.leaderboard import Row

# M. Okabe and K. Ito, "Color universal design", 2008, without the yellow, which is lost on white paper.
OKABE_ITO = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
REFERENCE = "#808080"
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
_DASHES = ("solid", "dashed", "dashdot", "dotted")


@dataclass(frozen=True, slots=True)
class Look:
    """How a row is drawn.

    Attributes:
        colour: of its method; all rows of one method share it.
        marker: tells the rows of one method apart.
        dashes: of its lines, likewise.
        is_first: whether it is its method's first row: drawn filled, where the others are hollow.
    """

    colour: str
    marker: str
    dashes: str
    is_first: bool


def looks(rows: Sequence[Row]) -> list[Look]:
    """A look for each row of a board, in its order."""
    methods = list(dict.fromkeys(row.record.method.name for row in rows if not row.is_initial))
    drawn = dict.fromkeys(methods, 0)
    found = []
    for row in rows:
        if row.is_initial:
            found.append(Look(REFERENCE, "x", "dotted", is_first=False))
            continue
        name = row.record.method.name
        # Where there are more methods than colours, their markers differ.
        turn = drawn[name] + methods.index(name) // len(OKABE_ITO)
        colour = OKABE_ITO[methods.index(name) % len(OKABE_ITO)]
        found.append(Look(colour, _MARKERS[turn % len(_MARKERS)], _DASHES[turn % len(_DASHES)], drawn[name] == 0))
        drawn[name] += 1
    return found
