"""Points within and on the surface of a solid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from regbench_tasks.phantom.random_fields import stream
from regbench_tasks.phantom.shapes import Solid

DEPTH_MM = 1.5
"""Inner points lie at least this deep, so that a smooth boundary does not make them ambiguous."""


def organ_points(
    solid: Solid, covering: Sequence[Solid], count: int, *, key: tuple[int, ...]
) -> Float64[np.ndarray, "n 3"]:
    """Half of the points inside the solid, half on its surface, none within the solids that cover it.

    Args:
        solid: with a finite box.
        covering: solids that take precedence.
        count: of points.
        key: of the random stream.
    """
    rng = stream(*key)
    candidates = rng.uniform(solid.low, solid.high, (400 * count, 3))
    free = _clear_of(covering, candidates)
    depth = evaluate(solid, candidates)
    inner = candidates[free & (depth < -min(DEPTH_MM, -0.5 * float(depth.min())))][: count // 2]
    near = candidates[free & (np.abs(depth) < 6)]
    for _ in range(8):
        normal = gradient(solid, near)
        near = near - evaluate(solid, near)[:, None] * normal / np.maximum((normal**2).sum(1, keepdims=True), 0.2)
    settled = np.abs(evaluate(solid, near)) < 0.01
    free = _clear_of(covering, near)
    return np.concatenate([inner, near[settled & free][: count - len(inner)]])


def _clear_of(solids: Sequence[Solid], points: Float64[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    clear = np.ones(len(points), dtype=bool)
    for solid in solids:
        clear &= evaluate(solid, points) > 1
    return clear


def evaluate(solid: Solid, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
    """Signed distances of points."""
    x, y, z = points.T.astype(np.float32)
    return solid((x, y, z)).astype(np.float64)


def gradient(solid: Solid, points: Float64[np.ndarray, "n 3"], step_mm: float = 0.25) -> Float64[np.ndarray, "n 3"]:
    """Gradient of the signed distance at points."""
    steps = np.eye(3) * step_mm
    sides = [(evaluate(solid, points + s) - evaluate(solid, points - s)) / (2 * step_mm) for s in steps]
    return np.stack(sides, axis=1)
