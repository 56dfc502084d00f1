"""What is drawn of a slice, whatever frames it: voxels, contours of labels, the deformed grid, the Jacobian."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Integer, Shaped
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap

from regbench.report.pictures.slices import Plane

LOG2_RANGE = 1.5
TICKS = (-LOG2_RANGE, -1.0, 0.0, 1.0, LOG2_RANGE)
TICK_WORDS = tuple(f"{2**tick:.2g}" for tick in TICKS)
# The map's own ends are too dark beside black, which is for folds.
GROWTH = ListedColormap(colormaps["PuOr_r"](np.linspace(0.12, 0.88, 256))).with_extremes(bad="white")
FOLDED = "#000000"


def draw_voxels(
    axes: Axes,
    plane: Plane,
    cut: Shaped[np.ndarray, "up right"],
    colours: Colormap | str = "gray",
    low: float = 0.0,
    high: float = 1.0,
) -> None:
    """A slice at its place in millimetres, voxel by voxel; the limits of the axes stay."""
    right, up = plane.spacing_mm
    rows, columns = cut.shape
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        cut, cmap=colours, vmin=low, vmax=high, origin="lower", interpolation="none", aspect="auto",
        extent=(-right / 2, (columns - 0.5) * right, -up / 2, (rows - 0.5) * up),
    )  # fmt: skip
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def draw_contours(
    axes: Axes,
    plane: Plane,
    labels: Integer[np.ndarray, "i j k"],
    colours: Mapping[int, str],
    *,
    width: float,
    dashed: bool = False,
) -> None:
    """The outline of each label that the slice meets; none in a slice of one row."""
    cut = plane.cut(labels)
    if min(cut.shape) < 2:
        return
    x, y = (np.arange(n) * spacing for n, spacing in zip(cut.shape[::-1], plane.spacing_mm, strict=True))
    style = "dashed" if dashed else "solid"
    for number, colour in colours.items():
        inside = (cut == number).astype(float)
        if inside.any():
            axes.contour(x, y, inside, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)


def draw_grid(
    axes: Axes, plane: Plane, u: Float[np.ndarray, "2 up right"], steps: tuple[int, int], width: float
) -> None:
    """A regular grid carried along by a field; what leaves the plane is not seen.

    Args:
        axes: to draw in.
        plane: the slice.
        u: the displacement within it, in voxels.
        steps: voxels from line to line to the right, and up.
        width: of a line.
    """
    _, rows, columns = u.shape
    x = (np.arange(columns)[None, :] + u[0]) * plane.spacing_mm[0]
    y = (np.arange(rows)[:, None] + u[1]) * plane.spacing_mm[1]
    along, across = steps
    lines = [np.stack([x[n], y[n]], 1) for n in range(0, rows, across)]
    lines += [np.stack([x[:, n], y[:, n]], 1) for n in range(0, columns, along)]
    axes.add_collection(LineCollection(lines, colors="#0072B2", linewidths=width))


def draw_jacobian(axes: Axes, plane: Plane, determinant: Float[np.ndarray, "up right"]) -> None:
    """log₂ det J: growth and shrinkage; folded voxels in black, those without a determinant in white."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.log2(np.where(determinant > 0, determinant, np.nan))
    draw_voxels(axes, plane, size, GROWTH, -LOG2_RANGE, LOG2_RANGE)
    folded = np.where(determinant <= 0, 1.0, np.nan)
    if np.isfinite(folded).any():
        draw_voxels(axes, plane, folded, ListedColormap([FOLDED]))
