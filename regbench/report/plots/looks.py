"""How a row looks in every plot of a page: colours that the colour-blind tell apart, and a marker beside each."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

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


_SHAPES = {
    "o": '<circle cx="14" cy="7" r="3.4"/>',
    "s": '<rect x="10.8" y="3.8" width="6.4" height="6.4"/>',
    "D": '<path d="M14 2.6 18.4 7 14 11.4 9.6 7z"/>',
    "^": '<path d="M14 3 18 10.4H10z"/>',
    "v": '<path d="M14 11 18 3.6H10z"/>',
    "P": '<path d="M12.4 3h3.2v2.4h2.4v3.2h-2.4V11h-3.2V8.6H10V5.4h2.4z"/>',
    "X": '<path d="M10.4 4.4 12 3l2 2 2-2 1.6 1.4L15.6 7l2 2.6L16 11l-2-2-2 2-1.6-1.4 2-2.6z"/>',
    "<": '<path d="M10 7 17.4 3v8z"/>',
    ">": '<path d="M18 7 10.6 3v8z"/>',
    "x": '<path d="M10.5 3.5 17.5 10.5M17.5 3.5 10.5 10.5"/>',
}
_STROKES = {"solid": "", "dashed": "5 2.5", "dashdot": "6 2 1.5 2", "dotted": "1.5 2"}


def swatch(look: Look) -> Markup:
    """A row's line and marker as an <svg> element, for the legend."""
    strokes = f' stroke-dasharray="{_STROKES[look.dashes]}"' if _STROKES[look.dashes] else ""
    shape = _SHAPES[look.marker].replace("/>", f' fill="{look.colour}" stroke="{look.colour}"/>')
    return Markup(  # noqa: S704 - of constants only
        '<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true">'
        f'<path d="M0 7H28" stroke="{look.colour}" stroke-width="1.6" fill="none"{strokes}/>{shape}</svg>'
    )
