"""Figures as SVG that can stand in a page: vector, text as text, the same bytes for the same numbers."""

import re
from html import escape
from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH_IN = 3.6
"""As wide as a phone, so that a figure's letters are as large there as the page's."""
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "regbench",
    "svg.image_inline": True,
    "image.composite_image": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}
_FONT = "font-family: inherit"


def figure(width_in: float = WIDTH_IN, height_in: float = 2.8) -> Figure:
    """An empty figure of its own, apart from any state that matplotlib keeps."""
    made = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasSVG(made)
    made.patch.set_alpha(0)
    return made


def tidy(axes: Axes, *, grid: str = "both") -> None:
    """Take away what carries no number."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#888888")
    axes.tick_params(labelsize=7, color="#888888", width=0.6)
    axes.grid(visible=True, axis=grid, color="#e4e4e4", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def to_svg(made: Figure, name: str, description: str) -> str:
    """A figure as an <svg> element.

    Args:
        made: the figure.
        name: in front of all its ids, so that two figures of one page do not share any.
        description: what is seen, for those who cannot see it.
    """
    text = StringIO()
    with rc_context(_SETTINGS):
        made.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([^;\"]*?)(\d[\d.]*px) [^;\"]*", rf"font: \1\2 sans-serif; {_FONT}", svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda found: _rounded(found[0]), svg)
    return _opened(svg, description)


def _rounded(path: str) -> str:
    """A path's coordinates to a hundredth of a point, and on one line."""
    return " ".join(re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}", path).split())


def _opened(svg: str, description: str) -> str:
    """The element with its size left to the page."""
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None  # noqa: S101 - matplotlib writes it
    label = escape(description, quote=True)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} {box[0]} role="img" aria-label="{label}">{rest}'
