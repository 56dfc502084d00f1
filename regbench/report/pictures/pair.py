"""The picture of a pair of anybody's scans: three planes, before and after, the deformed grid and the Jacobian."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from regbench.api import Percentiles, Volume, Window
from regbench.registration import OwnScans, Registration
from regbench.registration.placing import numbers_in
from regbench.report.pictures.cuts import TICK_WORDS, TICKS, draw_contours, draw_grid, draw_jacobian, draw_voxels
from regbench.report.pictures.slices import Plane

_PANEL_IN, _DPI = 2.1, 150
_THINNEST = 0.25  # of a panel's width: a thin stack of slices is still seen
_GRID_LINES, _FIELDS = 30, 8
_CONTOURED = 20
_MARGIN = 0.1  # of what was registered, shown on either side of it
_ENDS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
Limits = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the panels are drawn from: units in [0, 1], and the displacement without the shift of the whole scan."""

    scans: OwnScans
    found: Registration
    fixed: Limits
    moving: Limits
    shift_voxels: Float[np.ndarray, " 3"]
    labels: tuple[int, ...]


def pair_picture(scans: OwnScans, found: Registration, intensity: Window | Percentiles, title: str) -> bytes:
    """A PNG: one row a plane, one column each for fixed, moving, moved, checkerboard, deformed grid and Jacobian.

    Contours of the labels are drawn where both scans have some: the fixed ones solid, the moving ones dashed. Where the
    method's grid does not cover the fixed scan, a dotted line says how far it reaches, and only its neighbourhood is
    shown: beyond it nothing was registered.

    Args:
        scans: as they were stored.
        found: what has come of them.
        intensity: how bright they are shown.
        title: one line above.
    """
    shown = _shown(scans, found, intensity)
    planes = _planes(scans.fixed, scans.fixed_labels, shown.fixed)
    heights = [_height(plane, found.presented.covered) for plane in planes]
    made = Figure(figsize=(_PANEL_IN * len(_COLUMNS) + 0.6, _PANEL_IN * sum(heights) + 1.0), layout="constrained")
    FigureCanvasAgg(made)
    grid = made.subplots(len(planes), len(_COLUMNS), squeeze=False, height_ratios=heights)
    for row, plane in zip(grid, planes, strict=True):
        for axes, (_, draw) in zip(row, _COLUMNS, strict=True):
            draw(axes, plane, shown)
            _prepare(axes, plane, found.presented.covered)
        _sides(row[0], plane)
    for axes, (name, _) in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(name, fontsize=8)
    made.suptitle("\n".join([title, *_lines(shown)]), fontsize=9)
    _key(made, grid[:, -1])
    png = BytesIO()
    made.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    return png.getvalue()


def _lines(shown: _Shown) -> list[str]:
    """What the lines in the panels stand for."""
    labels = ["contours: fixed labels solid, moving labels dashed"] if shown.labels else []
    dotted = [] if shown.found.presented.covered.all() else ["dotted: what was registered"]
    return ["; ".join(labels + dotted)] if labels + dotted else []


def _shown(scans: OwnScans, found: Registration, intensity: Window | Percentiles) -> _Shown:
    def limits(scan: Volume) -> Limits:
        if isinstance(intensity, Window):
            return intensity.low, intensity.high
        low, high = np.percentile(scan.data.numpy(), (intensity.low, intensity.high)).tolist()
        return low, high

    both = scans.fixed_labels is not None and scans.moving_labels is not None
    labels = numbers_in(scans.fixed_labels)[:_CONTOURED] if both and scans.fixed_labels is not None else []
    shift = -np.linalg.solve(scans.fixed.grid.affine[:3, :3], found.presented.shift_mm)
    return _Shown(scans, found, limits(scans.fixed), limits(scans.moving), shift, tuple(labels))


def _planes(fixed: Volume, labels: Volume | None, limits: Limits) -> list[Plane]:
    """Through the middle of what is labelled, or else of what is bright."""
    if labels is not None and bool((labels.data > 0).any()):
        weight = (labels.data > 0).numpy().astype(np.float32)
    else:
        weight = _unit(fixed.data.numpy(), limits)
    planes = []
    for name, across in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        others = tuple(axis for axis in range(3) if axis != across)
        profile = weight.sum(axis=others, dtype=np.float64)
        total = profile.sum()
        middle = (np.arange(len(profile)) * profile).sum() / total if total > 0 else (len(profile) - 1) / 2
        spacing = fixed.grid.spacing_mm
        planes.append(Plane(name, across, round(middle), (spacing[others[0]], spacing[others[1]])))
    return planes


def _unit(values: Float[np.ndarray, "*shape"], limits: Limits) -> Float[np.ndarray, "*shape"]:
    low, high = limits
    unit: Float[np.ndarray, "*shape"] = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return unit


def _height(plane: Plane, covered: Bool[Tensor, "i j k"]) -> float:
    (left, right), (low, high) = _view(plane, covered)
    return float(np.clip((high - low) / (right - left), _THINNEST, 2.0))


def _view(plane: Plane, covered: Bool[Tensor, "i j k"]) -> tuple[Limits, Limits]:
    """What a panel shows, in millimetres along both axes: what was registered, and a margin around it."""
    limits = []
    for axis, spacing in zip(plane.axes, plane.spacing_mm, strict=True):
        there = covered.any(dim=tuple(other for other in range(3) if other != axis)).nonzero()
        first, last = (int(there.min()), int(there.max())) if len(there) else (0, covered.shape[axis] - 1)
        margin = _MARGIN * (last - first + 1)
        limits.append((max(-0.5, first - margin) * spacing, min(covered.shape[axis] - 0.5, last + margin) * spacing))
    return limits[0], limits[1]


def _prepare(axes: Axes, plane: Plane, covered: Bool[Tensor, "i j k"]) -> None:
    """Millimetres, the patient's right on the left, or the front where the plane has no right."""
    (left, right), (low, high) = _view(plane, covered)
    cut = plane.cut(covered.numpy())
    if not cut.all() and min(cut.shape) > 1:
        x, y = (np.arange(n) * s for n, s in zip(cut.shape[::-1], plane.spacing_mm, strict=True))
        axes.contour(x, y, cut, levels=[0.5], colors=["#999999"], linewidths=0.9, linestyles="dotted")
    axes.set_xlim(right, left)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.set_facecolor("black" if axes.images else "white")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#999999")
        spine.set_linewidth(0.5)


def _contours(axes: Axes, plane: Plane, shown: _Shown, labels: Volume | None, *, dashed: bool = False) -> None:
    if labels is not None:
        colours = dict(zip(shown.labels, cycle(_COLOURS), strict=False))
        draw_contours(axes, plane, labels.data.numpy(), colours, width=0.9, dashed=dashed)


def _fixed(axes: Axes, plane: Plane, shown: _Shown) -> None:
    draw_voxels(axes, plane, _unit(plane.cut(shown.scans.fixed.data.numpy()), shown.fixed))
    _contours(axes, plane, shown, shown.scans.fixed_labels)


def _before(axes: Axes, plane: Plane, shown: _Shown) -> None:
    draw_voxels(axes, plane, _unit(plane.cut(shown.found.before.data.numpy()), shown.moving))
    _contours(axes, plane, shown, shown.scans.fixed_labels)
    _contours(axes, plane, shown, shown.found.before_labels, dashed=True)


def _moved(axes: Axes, plane: Plane, shown: _Shown) -> None:
    draw_voxels(axes, plane, _unit(plane.cut(shown.found.moved.data.numpy()), shown.moving))
    _contours(axes, plane, shown, shown.scans.fixed_labels)
    _contours(axes, plane, shown, shown.found.moved_labels, dashed=True)


def _checkerboard(axes: Axes, plane: Plane, shown: _Shown) -> None:
    fixed = _unit(plane.cut(shown.scans.fixed.data.numpy()), shown.fixed)
    moved = _unit(plane.cut(shown.found.moved.data.numpy()), shown.moving)
    extent = [n * s for n, s in zip(fixed.shape, plane.spacing_mm[::-1], strict=True)]
    side = max(extent) / _FIELDS
    rows, columns = (np.arange(n) * s // side for n, s in zip(fixed.shape, plane.spacing_mm[::-1], strict=True))
    board = (rows[:, None] + columns[None, :]) % 2 == 0
    draw_voxels(axes, plane, np.where(board, fixed, moved))


def _grid(axes: Axes, plane: Plane, shown: _Shown) -> None:
    """A regular grid carried along by the field; what leaves the plane is not seen."""
    u = plane.cut_field(shown.found.field.displacement.numpy()) - shown.shift_voxels[list(plane.axes), None, None]
    step_mm = max(high - low for low, high in _view(plane, shown.found.presented.covered)) / _GRID_LINES
    along, across = (max(1, round(step_mm / spacing)) for spacing in plane.spacing_mm)
    draw_grid(axes, plane, u, (along, across), 0.5)


def _jacobian(axes: Axes, plane: Plane, shown: _Shown) -> None:
    draw_jacobian(axes, plane, plane.cut(shown.found.determinant.data.numpy()))


_COLUMNS: Sequence[tuple[str, Callable[[Axes, Plane, _Shown], None]]] = (
    ("fixed", _fixed),
    ("moving, before", _before),
    ("moving, after", _moved),
    ("fixed and moved", _checkerboard),
    ("deformed grid", _grid),
    ("volume change, folds black", _jacobian),
)


def _sides(axes: Axes, plane: Plane) -> None:
    for text, (x, y) in zip(_ENDS[plane.name], ((0.04, 0.5), (0.96, 0.5), (0.5, 0.94), (0.5, 0.06)), strict=True):
        side = axes.text(x, y, text, transform=axes.transAxes, color="#F0E442", fontsize=7, ha="center", va="center")
        side.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    axes.set_ylabel(f"{plane.name} {plane.place}", fontsize=7)


def _key(made: Figure, beside: Shaped[np.ndarray, " rows"]) -> None:
    images = [axes.images[0] for axes in beside]
    bar = made.colorbar(images[0], ax=list(beside), location="right", shrink=0.8, aspect=30)
    bar.set_ticks(TICKS, labels=TICK_WORDS)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("moving volume / fixed volume", fontsize=7)
