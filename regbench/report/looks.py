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
        marker: the next one for each method, and for each row of a method.
        dashes: of its lines: tells the rows of one method apart.
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
        method = methods.index(name)
        # Seven colours and nine markers, both moving on: no two of 63 methods look alike, even without colours few do.
        marker = _MARKERS[(method + drawn[name]) % len(_MARKERS)]
        dashes = _DASHES[(method // len(OKABE_ITO) + drawn[name]) % len(_DASHES)]
        found.append(Look(OKABE_ITO[method % len(OKABE_ITO)], marker, dashes, drawn[name] == 0))
        drawn[name] += 1
    return found
