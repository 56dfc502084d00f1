"""The panels of a row's picture: scans, contours of the labels, the deformed grid, the Jacobian."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regbench.report.pictures.cuts import (
    GROWTH,
    LOG2_RANGE,
    TICK_WORDS,
    TICKS,
    draw_contours,
    draw_grid,
    draw_jacobian,
    draw_voxels,
)
from regbench.report.pictures.scene import Scene
from regbench.report.pictures.slices import Plane
from regbench.report.plots.drawing import figure, to_svg

_PANEL_IN = 2.2
_GRID_LINES = 28
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
    draw_contours(axes, plane, scene.fixed_labels, colour_of(scene.names), width=1.1)
    _sides(axes, plane)
    return to_svg(made, name, f"Fixed scan, {plane.name} slice {plane.place}, with the contours of its labels.")


def moving_panel(scene: Scene, plane: Plane, name: str) -> str:
    """The moving scan with its true contours, before anything is registered."""
    made, axes = _panel(plane, scene.moving.shape)
    _scan(axes, plane, scene.moving)
    draw_contours(axes, plane, scene.moving_labels, colour_of(scene.names), width=1.1)
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
    draw_contours(axes, plane, scene.fixed_labels, colour_of(scene.names), width=1.0)
    draw_contours(axes, plane, scene.moved_labels, colour_of(scene.names), width=1.1, dashed=True)
    return to_svg(made, name, "Contours of the fixed labels, solid, and of the moved labels, dashed.")


def grid_panel(scene: Scene, plane: Plane, name: str) -> str:
    """A regular grid of the fixed scan carried along by the field; what leaves the slice is not seen."""
    made, axes = _panel(plane, scene.fixed.shape, face="white")
    u = plane.cut_field(scene.displacement)
    step = max(1, round(max(u.shape[1:]) / _GRID_LINES))
    draw_grid(axes, plane, u, (step, step), 0.45)
    _frame(axes)
    return to_svg(made, name, "A regular grid deformed by the field.")


def jacobian_panel(scene: Scene, plane: Plane, name: str) -> str:
    """log₂ det J: growth and shrinkage; folded voxels in black."""
    made, axes = _panel(plane, scene.fixed.shape, face="white")
    draw_jacobian(axes, plane, plane.cut(scene.determinant))
    _frame(axes)
    return to_svg(made, name, "Map of the Jacobian determinant of the field.")


def jacobian_key(name: str) -> str:
    """The colours of the Jacobian maps."""
    made = figure(2.6, 0.5)
    axes = made.add_subplot()
    ramp = np.linspace(0, 1, 128)[None, :]
    axes.imshow(ramp, cmap=GROWTH, aspect="auto", extent=(-LOG2_RANGE, LOG2_RANGE, 0, 1), interpolation="none")
    axes.set_yticks([])
    axes.set_xticks(TICKS, TICK_WORDS, fontsize=7)
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


def _scan(axes: Axes, plane: Plane, scan: Float[np.ndarray, "i j k"], strength: float = 1.0) -> None:
    draw_voxels(axes, plane, plane.cut(scan) * strength)


def _sides(axes: Axes, plane: Plane) -> None:
    up, down = ("A", "P") if plane.name == "axial" else ("S", "I")
    for text, x, y in (("R", 0.03, 0.5), ("L", 0.97, 0.5), (up, 0.5, 0.96), (down, 0.5, 0.04)):
        axes.text(x, y, text, transform=axes.transAxes, color="white", fontsize=7, ha="center", va="center")


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")
        spine.set_linewidth(0.5)
