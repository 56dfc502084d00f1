"""The heart's contraction, as the map from end-systole back to end-diastole.

In systole the valves' plane comes down towards the apex, the heart turns about its axis, and each radius shrinks. The
muscle keeps its volume: with the long axis scaled by λ, a point of the wall at radius r comes to r′ with
r′² = r²/λ − C(angle, z), for which the determinant r′λ dr′ / (r dr) is 1; C follows from the ejection fraction.
Blood gives way, and what surrounds the heart follows it less and less.
"""

from functools import cache

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import spline_filter

from regbench_tasks.phantom.cardiac_patient import BOX_MM, MOTION, RV_WALL_MM, VERSION, Heart, heart
from regbench_tasks.phantom.random_fields import smooth_noise, stream
from regbench_tasks.phantom.shapes import Points, Values, single
from regbench_tasks.phantom.spline import ControlGrid, SplineMap

CONTROL = ControlGrid(BOX_MM, rim_mm=40.0, step_mm=(4.0, 4.0, 5.0))
REACH_MM = 30.0
"""How far around the heart its surroundings are drawn along."""
BREATHING_MM = 0.7
KNOT_GAP_MM = 0.6


@cache
def contraction(seed: int, case: int) -> SplineMap:
    """End-systole → end-diastole, in mm of the scan; smooth and invertible."""
    own = heart(seed, case)
    points = CONTROL.points()
    d = np.stack(_back(own, points)) - np.stack(points)
    rng = stream(VERSION, seed, case, MOTION)
    drift = [smooth_noise(rng, CONTROL.shape, 30 / np.array(CONTROL.step_mm)) for _ in range(3)]
    d = (d + np.float32(BREATHING_MM) * np.stack(drift)) * CONTROL.fade()
    # filtered, so that the spline passes through the contraction at the control points and loses none of it
    return SplineMap(CONTROL, np.stack([spline_filter(c, order=3, output=np.float32) for c in d]))


def _back(own: Heart, points: Points) -> list[Values]:
    x, y, z = own.local(points)
    raised = _raised(own, z)
    near = _share(own, np.hypot(x, y), single(np.arctan2(y, x)), raised)
    x, y = x - near * np.float32(own.swing[0]), y - near * np.float32(own.swing[1])
    r, angle = np.hypot(x, y), single(np.arctan2(y, x))
    share = _share(own, r, angle, raised)
    z = z + share * (raised - z)
    angle = angle - share * _twist(own, z)
    diastolic, systolic = _knots(own, angle, z)
    r = np.sqrt(_interpolate(r * r, systolic, diastolic))
    local = [r * np.cos(angle), r * np.sin(angle), z]
    return [
        np.float32(c) + sum(np.float32(a) * v for a, v in zip(row, local, strict=True))
        for c, row in zip(own.centre, own.axes, strict=True)
    ]


def _raised(own: Heart, z: Values) -> Values:
    """Height at end-diastole of what lies at height z at end-systole."""
    left, foot = 1 - own.typical.shortening, own.apex - 5
    lowered = foot + left * (own.base - foot)
    heights = [foot - 40, foot, lowered, own.base + 45]
    before = [foot - 40, foot, own.base, own.base + 45]
    return single(np.interp(z, heights, before))


def _twist(own: Heart, z: Values) -> Values:
    upwards = np.clip((z - own.apex) / (own.base - own.apex), 0, 1)
    return single(own.twist * (0.68 - upwards))


def _share(own: Heart, r: Values, angle: Values, z: Values) -> Values:
    """1 within the heart, falling to 0 around it."""
    _, systolic = _knots(own, angle, z)
    edge, far = np.sqrt(systolic[-2]), np.sqrt(systolic[-1])
    t = np.clip((far - r) / (far - edge), 0, 1)
    return single(t * t * (3 - 2 * t))


def _knots(own: Heart, angle: Values, z: Values) -> tuple[list[Values], list[Values]]:
    """Squared radii of the surfaces at end-diastole and end-systole, outwards, for end-diastolic angle and height."""
    left = 1 - own.typical.shortening
    inner, outer = own.endocardium(angle, z), own.epicardium(angle, z)
    right = own.right_wall(angle, z)
    healthy = (1 - own.typical.ejection) / left
    kept = healthy + own.scar(angle, z) * (1 / left - healthy)
    contracted = np.sqrt(kept * inner**2 + (outer**2 - inner**2) / left)
    narrowed = contracted + (1 - own.typical.right_narrowing) * (right - outer)
    radii = [inner, outer, right, right + RV_WALL_MM, right + RV_WALL_MM + REACH_MM]
    shrunk = [np.sqrt(kept) * inner, contracted, narrowed, narrowed + RV_WALL_MM * 1.3, radii[-1]]
    return _squares(radii), _squares(shrunk)


def _squares(radii: list[Values]) -> list[Values]:
    """From 0 outwards, each a little above the one before."""
    found = [np.zeros_like(radii[0])]
    for r in radii:
        found.append(np.maximum(r, found[-1] + np.float32(KNOT_GAP_MM)))
    return [r * r for r in found]


def _interpolate(values: Values, knots: list[Values], heights: list[Values]) -> Float32[np.ndarray, "..."]:
    """A piecewise linear function of its own at each place; slope 1 beyond the last knot."""
    result = values - knots[-1] + heights[-1]
    for k0, k1, h0, h1 in zip(knots[-2::-1], knots[:0:-1], heights[-2::-1], heights[:0:-1], strict=True):
        piece = h0 + (values - k0) * (h1 - h0) / (k1 - k0)
        result = np.where(values < k1, piece, result)
    return single(np.maximum(result, 0))
