"""The panels of a row's picture: scans, contours of the labels, the deformed grid, the Jacobian."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from regbench.report.pictures.scene import Scene
from regbench.report.pictures.slices import Plane
from regbench.report.plots.drawing import figure, to_svg

_PANEL_IN = 2.2
_GRID_LINES = 28
LOG2_RANGE = 1.5
# The map's own ends are too dark beside black, which is for folds.
GROWTH = ListedColormap(colormaps["PuOr_r"](np.linspace(0.12, 0.88, 256))).with_extremes(bad="white")
FOLDED = "#000000"
# Okabe and Ito's, then Paul Tol's muted ones; neighbours in the list differ in lightness, too.
_COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#DDCC77", "#88CCEE", "#AA4499",
    "#44AA99", "#EE99AA", "#BBBBBB",
)  # fmt: skip


def colour_of(names: Mapping[int, str]) -> dict[int, str]:
    """Label number → colour."""
    return {number: _COLOURS[n % len(_COLOURS)] for n, number in enumerate(names)}


def fixed_panel(scene: Scene, plane: Plane, name: str) -> str:
    """The fixed scan with its true contours."""
    made, axes = _panel(plane, scene.fixed.shape)
    _scan(axes, plane, scene.fixed)
    _contours(axes, plane, scene.fixed_labels, scene.names)
    _sides(axes, plane)
    return to_svg(made, name, f"Fixed scan, {plane.name} slice {plane.place}, with the contours of its labels.")


def moving_panel(scene: Scene, plane: Plane, name: str) -> str:
    """The moving scan with its true contours, before anything is registered."""
    made, axes = _panel(plane, scene.moving.shape)
    _scan(axes, plane, scene.moving)
    _contours(axes, plane, scene.moving_labels, scene.names)
    return to_svg(made, name, f"Moving scan, {plane.name} slice {plane.place}, with the contours of its labels.")


def moved_panel(scene: Scene, plane: Plane, name: str) -> str:
    """The moved scan."""
    made, axes = _panel(plane, scene.moved.shape)
    _scan(axes, plane, scene.moved)
    return to_svg(made, name, f"Moved scan, {plane.name} slice {plane.place}.")


def contours_panel(scene: Scene, plane: Plane, name: str) -> str:
    """The fixed contours, solid, and the moved ones, dashed, on the moved scan."""
    made, axes = _panel(plane, scene.fixed.shape)
    _scan(axes, plane, scene.moved, strength=0.55)
    _contours(axes, plane, scene.fixed_labels, scene.names, width=1.0)
    _contours(axes, plane, scene.moved_labels, scene.names, dashed=True)
    return to_svg(made, name, "Contours of the fixed labels, solid, and of the moved labels, dashed.")


def grid_panel(scene: Scene, plane: Plane, name: str) -> str:
    """A regular grid of the fixed scan carried along by the field; what leaves the slice is not seen."""
    made, axes = _panel(plane, scene.fixed.shape, face="white")
    u = plane.cut_field(scene.displacement)
    _, rows, columns = u.shape
    x = (np.arange(columns)[None, :] + u[0]) * plane.spacing_mm[0]
    y = (np.arange(rows)[:, None] + u[1]) * plane.spacing_mm[1]
    step = max(1, round(max(rows, columns) / _GRID_LINES))
    lines = [np.stack([x[n], y[n]], 1) for n in range(0, rows, step)]
    lines += [np.stack([x[:, n], y[:, n]], 1) for n in range(0, columns, step)]
    axes.add_collection(LineCollection(lines, colors="#0072B2", linewidths=0.45))
    _frame(axes)
    return to_svg(made, name, "A regular grid deformed by the field.")


def jacobian_panel(scene: Scene, plane: Plane, name: str) -> str:
    """log₂ det J: growth and shrinkage; folded voxels in black."""
    made, axes = _panel(plane, scene.fixed.shape, face="white")
    determinant = plane.cut(scene.determinant)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.log2(np.where(determinant > 0, determinant, np.nan))
    _show(axes, plane, size, GROWTH, -LOG2_RANGE, LOG2_RANGE)
    folded = np.where(determinant <= 0, 1.0, np.nan)
    if np.isfinite(folded).any():
        _show(axes, plane, folded, ListedColormap([FOLDED]), 0.0, 1.0)
    _frame(axes)
    return to_svg(made, name, "Map of the Jacobian determinant of the field.")


def jacobian_key(name: str) -> str:
    """The colours of the Jacobian maps."""
    made = figure(2.6, 0.5)
    axes = made.add_subplot()
    ramp = np.linspace(0, 1, 128)[None, :]
    axes.imshow(ramp, cmap=GROWTH, aspect="auto", extent=(-LOG2_RANGE, LOG2_RANGE, 0, 1), interpolation="none")
    ticks = [-LOG2_RANGE, -1, 0, 1, LOG2_RANGE]
    axes.set_yticks([])
    axes.set_xticks(ticks, [f"{2**tick:.2g}" for tick in ticks], fontsize=7)
    axes.tick_params(length=2)
    return to_svg(made, name, "Colours of the Jacobian determinant, from shrinking to growing.")


def _panel(plane: Plane, shape: tuple[int, ...], face: str = "black") -> tuple[Figure, Axes]:
    width, height = (shape[axis] * spacing for axis, spacing in zip(plane.axes, plane.spacing_mm, strict=True))
    made = Figure(figsize=(_PANEL_IN, _PANEL_IN * height / width))
    axes = made.add_axes((0, 0, 1, 1), facecolor=face)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    # The patient's right is on the left: the axis from right to left runs backwards.
    axes.set_xlim(width - plane.spacing_mm[0] / 2, -plane.spacing_mm[0] / 2)
    axes.set_ylim(-plane.spacing_mm[1] / 2, height - plane.spacing_mm[1] / 2)
    return made, axes


def _show(
    axes: Axes,
    plane: Plane,
    shown: Float[np.ndarray, "up right"],
    colours: Colormap | str,
    low: float,
    high: float,
) -> None:
    """A slice at its place in millimetres, voxel by voxel."""
    right, up = plane.spacing_mm
    rows, columns = shown.shape
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        shown, cmap=colours, vmin=low, vmax=high, origin="lower", interpolation="none", aspect="auto",
        extent=(-right / 2, (columns - 0.5) * right, -up / 2, (rows - 0.5) * up),
    )  # fmt: skip
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _scan(axes: Axes, plane: Plane, scan: Float[np.ndarray, "i j k"], strength: float = 1.0) -> None:
    _show(axes, plane, plane.cut(scan) * strength, "gray", 0.0, 1.0)


def _contours(
    axes: Axes,
    plane: Plane,
    labels: UInt8[np.ndarray, "i j k"],
    names: Mapping[int, str],
    *,
    width: float = 1.1,
    dashed: bool = False,
) -> None:
    shown = plane.cut(labels)
    rows, columns = shown.shape
    x, y = np.arange(columns) * plane.spacing_mm[0], np.arange(rows) * plane.spacing_mm[1]
    for number, colour in colour_of(names).items():
        inside = np.pad((shown == number).astype(float), 1)[1:-1, 1:-1]
        if inside.any() and min(shown.shape) > 1:
            axes.contour(x, y, inside, levels=[0.5], colors=[colour], linewidths=width,
                         linestyles="dashed" if dashed else "solid")  # fmt: skip


def _sides(axes: Axes, plane: Plane) -> None:
    up, down = ("A", "P") if plane.name == "axial" else ("S", "I")
    for text, x, y in (("R", 0.03, 0.5), ("L", 0.97, 0.5), (up, 0.5, 0.96), (down, 0.5, 0.04)):
        axes.text(x, y, text, transform=axes.transAxes, color="white", fontsize=7, ha="center", va="center")


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")
        spine.set_linewidth(0.5)
