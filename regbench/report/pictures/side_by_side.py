"""Fig. 3-like pictures: the same pair at the same slices, as each row registers it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from regbench.api import PairId
from regbench.engine import reopen
from regbench.errors import RegbenchError
from regbench.leaderboard import PRIMARY, Board, Row
from regbench.leaderboard.measured import mean_over
from regbench.registry import Registry
from regbench.report.pictures.panels import (
    colour_of,
    contours_panel,
    fixed_panel,
    grid_panel,
    jacobian_key,
    jacobian_panel,
    moved_panel,
    moving_panel,
)
from regbench.report.pictures.scene import Scene, scene
from regbench.report.pictures.slices import Plane, median_pair, planes
from regbench.results import RunFolder

Told = Callable[[str], None]
_OWN = (("Moved", moved_panel), ("Contours", contours_panel), ("Deformed grid", grid_panel), ("det J", jacobian_panel))


@dataclass(frozen=True, slots=True)
class Strip:
    """One plane of a row's picture.

    Attributes:
        plane: its name and slice.
        shared: id of the fixed scan's panel, and of the moving scan's, which all rows share.
        view_box: of those two.
        panels: title and SVG of the row's own.
    """

    plane: str
    shared: tuple[str, str]
    view_box: str
    panels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A row's picture, or why there is none.

    Attributes:
        row: its name.
        score: the mean DSC of the pair shown, in the first seed; NaN where there is none.
        strips: one a plane; empty where there is no picture.
        why_not: a sentence; empty where there is one.
    """

    row: str
    score: float = float("nan")
    strips: tuple[Strip, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """A board's pictures.

    Attributes:
        pair: which pair is shown.
        shared: id and SVG of the panels of both scans.
        colours: structure → colour of its contour.
        key: the colours of the Jacobian maps.
        pictures: one a row.
    """

    pair: PairId
    shared: tuple[tuple[str, str], ...]
    colours: tuple[tuple[str, str], ...]
    key: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What runs are opened again with.

    Attributes:
        folders: run id → its folder.
        registry: of what is installed.
        data: task → folder of its real scans.
        device: where to register; None: on the kind of device that each was made on.
        cache: of prepared cohorts; None: the user's.
        told: is called with what is at work.
    """

    folders: Mapping[str, RunFolder]
    registry: Registry
    data: Mapping[str, Path]
    device: torch.device | None = None
    cache: Path | None = None
    told: Told = lambda _: None


def gallery(board: Board, sources: Sources, name: str) -> Gallery:
    """The pictures of all rows of a board."""
    pair = median_pair(board)
    shared: dict[str, str] = {}
    pictures = [_picture(board, row, pair, sources, f"{name}-{n}", name, shared) for n, row in enumerate(board.rows)]
    drawn = any(picture.strips for picture in pictures)
    colours = colour_of(board.protocol.labels)
    return Gallery(
        pair=pair,
        shared=tuple(shared.items()),
        colours=tuple((board.protocol.labels[number], colour) for number, colour in colours.items()) if drawn else (),
        key=jacobian_key(f"{name}-key") if drawn else "",
        pictures=tuple(pictures),
    )


def _picture(
    board: Board, row: Row, pair: PairId, sources: Sources, name: str, common: str, shared: dict[str, str]
) -> Picture:
    if not board.is_phantom and board.task not in sources.data:
        ask = f"regbench report --data {board.task}=DIR"
        return Picture(row.name, why_not=f"No picture: the scans were not given ({ask}).")
    folder = sources.folders.get(row.record.run_id)
    if folder is None:
        return Picture(row.name, why_not="No picture: the run's folder is not here.")
    sources.told(f"Picture of {row.name}, {board.task}")
    data = None if board.is_phantom else sources.data[board.task]
    try:
        run = reopen(folder, row.record, sources.registry, data=data, device=sources.device, cache=sources.cache)
        seen = scene(run.cohort, pair, run.field(pair))
    except RegbenchError as error:
        return Picture(row.name, why_not=f"No picture: {error}")
    cuts = planes(seen.fixed_labels, seen.spacing_mm)
    strips = tuple(_strip(seen, plane, f"{name}-{plane.name}", common, shared) for plane in cuts)
    return Picture(row.name, _score(board, row, pair), strips)


def _score(board: Board, row: Row, pair: PairId) -> float:
    if PRIMARY not in row.values:
        return float("nan")
    return float(mean_over(row.values[PRIMARY][0, board.protocol.test_pairs.index(pair)], axis=0))


def _strip(seen: Scene, plane: Plane, name: str, common: str, shared: dict[str, str]) -> Strip:
    both = (f"{common}-fixed-{plane.name}", f"{common}-moving-{plane.name}")
    for key, draw in zip(both, (fixed_panel, moving_panel), strict=True):
        if key not in shared:
            shared[key] = draw(seen, plane, key)
    panels = tuple((title, draw(seen, plane, f"{name}-{n}")) for n, (title, draw) in enumerate(_OWN))
    box = re.search(r'viewBox="([^"]*)"', shared[both[0]])
    return Strip(f"{plane.name}, slice {plane.place}", both, box[1] if box else "", panels)
