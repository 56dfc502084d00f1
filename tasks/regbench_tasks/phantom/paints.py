"""Ways to fill a solid: functions of position and of depth below the surface."""

import numpy as np

from regbench_tasks.phantom.canvas import Paint
from regbench_tasks.phantom.random_fields import Waves
from regbench_tasks.phantom.shapes import Number, Points, Values, single


def value_of(paint: Paint, points: Points, distance: Values) -> Values:
    """A paint's values at points."""
    if isinstance(paint, int | float):
        return np.full_like(distance, paint)
    return single(paint(points, distance))


def layered(outside: Paint, inside: Paint, depth_mm: Number, blur_mm: Number) -> Paint:
    """One paint down to a depth, another below it."""

    def value(points: Points, distance: Values) -> Values:
        share = np.clip(0.5 - (distance + depth_mm) / blur_mm, 0, 1)
        outer, inner = value_of(outside, points, distance), value_of(inside, points, distance)
        return single(outer + share * (inner - outer))

    return value


def mottled(mean: Number, *grains: tuple[Number, Waves]) -> Paint:
    """A mean with some random textures, each with its amplitude."""

    def value(points: Points, distance: Values) -> Values:
        total = np.full_like(distance, mean)
        for amplitude, grain in grains:
            total += amplitude * grain(points)
        return total

    return value
