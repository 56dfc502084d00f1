"""A smooth map of space: the identity plus a cubic B-spline displacement on a coarse control grid."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.ndimage import map_coordinates

from regbench.api import Grid

Coordinate = Float32[np.ndarray, "i j k"]

MARGIN = 2
"""Control points beyond the box on each side, at which the displacement has faded out."""


@dataclass(frozen=True, eq=False)
class ControlGrid:
    """Control points at equal steps, covering a box around the origin and a rim in which displacements fade.

    Attributes:
        box_mm: edge lengths of the box.
        rim_mm: width of the rim on each side.
        step_mm: distance between control points.
    """

    box_mm: tuple[float, float, float]
    rim_mm: float
    step_mm: tuple[float, float, float]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of control points along x, y, z."""
        steps = zip(self.box_mm, self.step_mm, strict=True)
        i, j, k = (int(np.ceil((b + 2 * self.rim_mm) / s)) + 1 + 2 * MARGIN for b, s in steps)
        return i, j, k

    @cached_property
    def origin_mm(self) -> Float64[np.ndarray, "3"]:
        """Where the first control point lies."""
        origin: Float64[np.ndarray, 3] = -(np.array(self.shape) - 1) / 2 * np.array(self.step_mm)
        return origin

    def points(self) -> tuple[Coordinate, Coordinate, Coordinate]:
        """x, y, z in mm of every control point."""
        axes = [o + s * np.arange(n) for o, s, n in zip(self.origin_mm, self.step_mm, self.shape, strict=True)]
        x, y, z = (a.astype(np.float32) for a in np.meshgrid(*axes, indexing="ij"))
        return x, y, z

    def fade(self) -> Float32[np.ndarray, "i j k"]:
        """1 within the box, falling smoothly to 0 at the rim's outer edge."""
        weight = np.ones(self.shape, dtype=np.float32)
        for p, b in zip(self.points(), self.box_mm, strict=True):
            outside = np.clip((np.abs(p) - b / 2) / self.rim_mm, 0, 1)
            weight *= (0.5 + 0.5 * np.cos(np.pi * outside)).astype(np.float32)
        return weight


@dataclass(frozen=True, eq=False)
class SplineMap:
    """p → p + d(p), with d a uniform cubic B-spline.

    Attributes:
        control: where the control points lie.
        weights: (3, i, j, k) B-spline coefficients of d in mm.
    """

    control: ControlGrid
    weights: Float32[np.ndarray, "3 i j k"]
    _wide: list[Float64[np.ndarray, "i j k"]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wide", list(self.weights.astype(np.float64)))

    def on_grid(self, grid: Grid) -> Float32[np.ndarray, "3 a b c"]:
        """Where each voxel of an axis-aligned grid is mapped to, in mm."""
        mapped = []
        for c in range(3):
            d = self.weights[c]
            for axis in (2, 1, 0):
                d = _expand(d, axis, self._position(grid, axis))
            line = grid.affine[c, 3] + grid.affine[c, c] * np.arange(grid.shape[c])
            d += np.moveaxis(line.astype(np.float32)[:, None, None], 0, c)
            mapped.append(d)
        return np.stack(mapped)

    def at(self, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Where points are mapped to, in mm."""
        index = ((points - self.control.origin_mm) / np.array(self.control.step_mm)).T
        moved = [map_coordinates(w, index, order=3, prefilter=False, mode="nearest") for w in self._wide]
        mapped: Float64[np.ndarray, "n 3"] = points + np.stack(moved, axis=1)
        return mapped

    def jacobian_at(self, points: Float64[np.ndarray, "n 3"], step_mm: float = 0.05) -> Float64[np.ndarray, "n 3 3"]:
        """∂map/∂p at points, by central differences."""
        steps = np.eye(3) * step_mm
        columns = [(self.at(points + s) - self.at(points - s)) / (2 * step_mm) for s in steps]
        return np.stack(columns, axis=2)

    def inverse_at(
        self, targets: Float64[np.ndarray, "n 3"], *, tolerance_mm: float = 1e-4, iterations: int = 60
    ) -> Float64[np.ndarray, "n 3"]:
        """The points that are mapped to `targets`, by Newton's method with step halving.

        Raises:
            ArithmeticError: if a point is not found: the map is not invertible there.
        """
        points: Float64[np.ndarray, "n 3"] = 2 * targets - self.at(targets)
        miss = targets - self.at(points)
        step = np.ones(len(points))
        for _ in range(iterations):
            open_ = np.flatnonzero(np.linalg.norm(miss, axis=1) > tolerance_mm)
            if not len(open_):
                return points
            newton = np.linalg.solve(self.jacobian_at(points[open_]), miss[open_][:, :, None])[:, :, 0]
            trial = points[open_] + step[open_, None] * newton
            trial_miss = targets[open_] - self.at(trial)
            better = np.linalg.norm(trial_miss, axis=1) < np.linalg.norm(miss[open_], axis=1)
            points[open_[better]], miss[open_[better]] = trial[better], trial_miss[better]
            step[open_] = np.where(better, np.minimum(2 * step[open_], 1.0), step[open_] / 2)
        raise ArithmeticError(f"{len(open_)} of {len(points)} points have no inverse within {tolerance_mm} mm.")

    def least_determinant(self) -> float:
        """The lowest Jacobian determinant over the inner control points."""
        inner = tuple(n - 2 * MARGIN for n in self.control.shape)
        mapped = self.on_grid(Grid.centred(inner, self.control.step_mm))
        columns = [np.gradient(mapped, s, axis=a + 1) for a, s in enumerate(self.control.step_mm)]
        return float(_determinant(columns).min())

    def _position(self, grid: Grid, axis: int) -> Float64[np.ndarray, " n"]:
        world = grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(grid.shape[axis])
        position: Float64[np.ndarray, " n"] = (world - self.control.origin_mm[axis]) / self.control.step_mm[axis]
        return position


def _expand(values: Float32[np.ndarray, "i j k"], axis: int, position: Float64[np.ndarray, " n"]) -> np.ndarray:
    """Cubic B-spline interpolation along one axis; explicit sums, for the same bits on any number of threads."""
    first, taps = _taps(position)
    shape = [1, 1, 1]
    shape[axis] = len(position)
    total = np.zeros([len(position) if a == axis else n for a, n in enumerate(values.shape)], dtype=np.float32)
    for t, tap in enumerate(taps):
        index = np.clip(first + t, 0, values.shape[axis] - 1)
        total += np.take(values, index, axis=axis) * tap.reshape(shape)
    return total


def _taps(position: Float[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], list[Float32[np.ndarray, " n"]]]:
    base = np.floor(position)
    t = position - base
    taps = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    return base.astype(np.int64) - 1, [w.astype(np.float32) for w in taps]


def _determinant(columns: list[np.ndarray]) -> np.ndarray:
    (a, b, c), (d, e, f), (g, h, i) = columns
    determinant: np.ndarray = a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)
    return determinant
