"""The page: boards, plots, statistics and pictures in one file that needs no network."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

import regbench
from regbench.leaderboard import PRIMARY, Board, Ranking, ranks, sheets
from regbench.leaderboard.formats.caption import failures, headline, particulars, remarks
from regbench.leaderboard.statistics.paired import SIGNIFICANT, too_few
from regbench.leaderboard.views.comparison import p_text
from regbench.leaderboard.views.sheet import Sheet
from regbench.report.pictures.side_by_side import Gallery
from regbench.report.pictures.slices import PAIR_RULE, SLICE_RULE
from regbench.report.plots.boxes import boxes
from regbench.report.plots.curves import pairs_in_order, training
from regbench.report.plots.differences import critical_difference, intervals
from regbench.report.plots.looks import Look, looks, swatch
from regbench.report.plots.scatter import against_folding, against_seconds
from regbench.report.rows import RowView, row_views
from regbench.report.tables import TableView, table
from regbench.results import RunFolder

Draw = Callable[[Board, int], Gallery]


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot with its title."""

    title: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Difference:
    """The critical-difference diagram and its words."""

    svg: Markup
    words: str


@dataclass(frozen=True, slots=True)
class BoardView:
    """All that the template shows of a board."""

    key: str
    is_phantom: bool
    headline: str
    particulars: str
    remarks: tuple[str, ...]
    legend: tuple[tuple[str, Markup], ...]
    measured: tuple[TableView, ...]
    published: tuple[TableView, ...]
    costs: tuple[Panel, ...]
    difference: Difference | None
    spread: tuple[Panel, ...]
    boxes: tuple[Panel, ...]
    curves: tuple[Panel, ...]
    gallery: Gallery | None
    rows: tuple[RowView, ...]
    failures: tuple[str, ...]
    protocol_notes: tuple[str, ...]


def page(
    boards: Sequence[Board],
    folders: Mapping[str, RunFolder],
    draw: Draw | None = None,
    *,
    ranking: Ranking = "paired",
    published: bool = True,
) -> str:
    """The whole page.

    Args:
        boards: what it shows, in this order.
        folders: run id → its folder, for the training curves.
        draw: makes a board's pictures from the board and its place; None: the page has no pictures.
        ranking: how rows are told apart.
        published: whether published numbers of the same task and protocol follow.
    """
    views = [
        _board(board, place, folders, draw, ranking=ranking, published=published) for place, board in enumerate(boards)
    ]
    environment = Environment(
        loader=PackageLoader("regbench.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": Markup, "breakable": _breakable}
    return environment.get_template("page.html").render(
        boards=views, version=regbench.__version__, pair_rule=PAIR_RULE, slice_rule=SLICE_RULE
    )


def _board(
    board: Board,
    place: int,
    folders: Mapping[str, RunFolder],
    draw: Draw | None,
    *,
    ranking: Ranking,
    published: bool,
) -> BoardView:
    key = f"b{place}"
    drawn = looks(board.rows)
    tables = [
        table(sheet, tinted=sheet.title.startswith("DSC of each") and not sheet.is_published)
        for sheet in [*sheets(board, ranking=ranking, published=published), *_ablations(board, published=published)]
    ]
    return BoardView(
        key=key,
        is_phantom=board.is_phantom,
        headline=headline(board),
        particulars=particulars(board),
        remarks=tuple(remarks(board)),
        legend=tuple((row.name, swatch(look)) for row, look in zip(board.rows, drawn, strict=True)),
        measured=tuple(found for found in tables if not found.is_published),
        published=tuple(found for found in tables if found.is_published),
        costs=_panels(
            ("Accuracy and speed", against_seconds(board, drawn, f"{key}-time")),
            ("Accuracy and folding", against_folding(board, drawn, f"{key}-fold")),
        ),
        difference=_difference(board, drawn, f"{key}-cd"),
        spread=_panels(
            ("Means and their 95 % intervals", intervals(board, drawn, f"{key}-mean")),
            ("From the worst pair to the best", pairs_in_order(board, drawn, f"{key}-pairs")),
        ),
        boxes=_panels(*boxes(board, drawn, f"{key}-box")),
        curves=_panels(*training(board, drawn, folders, f"{key}-course")),
        gallery=draw(board, place) if draw and board.rows else None,
        rows=tuple(row_views(board)),
        failures=tuple(failures(board)),
        protocol_notes=board.protocol.notes,
    )


def _breakable(name: str) -> Markup:
    """A row's name that a narrow column may break after a bracket or a comma."""
    return Markup("<wbr>").join(re.split(r"(?<=[\[,])", name))


def _ablations(board: Board, *, published: bool) -> list[Sheet]:
    """The ablations of every method that has any, then the published ones."""
    methods = dict.fromkeys(row.record.method.name for row in board.rows)
    found = [sheet for method in methods for sheet in sheets(board, ablation=method, published=published)]
    return list({sheet.title: sheet for sheet in found}.values())


def _panels(*drawn: tuple[str, str | None]) -> tuple[Panel, ...]:
    return tuple(Panel(title, Markup(svg)) for title, svg in drawn if svg)  # noqa: S704 - made by matplotlib, names escaped


def _difference(board: Board, drawn: Sequence[Look], name: str) -> Difference | None:
    found = ranks(board) if PRIMARY in board.metrics else None
    if found is None:
        return None
    differ = "The rows differ" if found.p < SIGNIFICANT else "No difference between the rows is shown"
    comparisons = len(found.rows) * (len(found.rows) - 1) // 2
    words = (
        f"Average rank of each row over the {found.pairs} test pairs by mean DSC; 1 is best. {differ}: Friedman's "
        f"test, χ² = {found.statistic:.1f}, p {_p(found.p)}. A bar joins rows none of which differ by Wilcoxon's "
        f"signed-rank test, Holm-corrected over all {comparisons} comparisons, at {SIGNIFICANT}. Both tests take the "
        "pairs as independent. Initial and upper bounds take no part."
    )
    words = " ".join([words, *too_few(found.pairs, comparisons)])
    return Difference(Markup(critical_difference(found, board, drawn, name)), words)  # noqa: S704 - as above


def _p(value: float) -> str:
    text = p_text(value)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"
