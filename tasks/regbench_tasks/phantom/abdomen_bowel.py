"""Bowel, bladder and what they hold; the contents differ from patient to patient and correspond to nothing."""

import numpy as np

from regbench_tasks.phantom.abdomen_organs import DUODENUM
from regbench_tasks.phantom.abdomen_patient import Look
from regbench_tasks.phantom.abdomen_trunk import CAVITY
from regbench_tasks.phantom.canvas import Canvas, Paint
from regbench_tasks.phantom.paints import layered
from regbench_tasks.phantom.random_fields import Waves, stream
from regbench_tasks.phantom.shapes import (
    Number,
    Points,
    Solid,
    Triple,
    Values,
    common,
    ellipsoid,
    grown,
    single,
    smooth_curve,
    tube,
    without,
)

LOOP_MM = 46.0


def _haustra(path: list[Triple], radius: Number) -> Solid:
    """A tube whose width goes up and down every 30 mm."""
    nodes = smooth_curve(np.asarray(path, dtype=np.float64), 3)
    radii = [radius * (1.08 if n % 2 else 0.84) for n in range(len(nodes))]
    return tube([(float(x), float(y), float(z)) for x, y, z in nodes], radii, steps=3)


RIGHT_COLON = _haustra([(92, 8, -72), (104, -2, -30), (106, -12, 20), (96, 10, 42), (70, 48, 36)], 23.0)
TRANSVERSE_COLON = _haustra(
    [(70, 48, 36), (36, 70, 20), (-10, 72, 16), (-56, 62, 40), (-92, 22, 84), (-104, -8, 96)], 20
)
LEFT_COLON = _haustra([(-104, -8, 96), (-110, -30, 60), (-108, -30, 0), (-98, -10, -60), (-70, 8, -95)], 16.0)
SIGMOID = _haustra(
    [(-70, 8, -95), (-30, 20, -120), (14, 4, -110), (10, -30, -125), (0, -50, -150), (0, -46, -200)], 17.0
)
COLON = (RIGHT_COLON, TRANSVERSE_COLON, LEFT_COLON, SIGMOID)
BLADDER = ellipsoid((0, 28, -178), (42, 32, 30))


def _loops(points: Points) -> Values:
    """Winding tubes: where three waves along bent axes add up."""
    x, y, z = (p * np.float32(2 * np.pi / LOOP_MM) for p in points)
    u = x + 0.9 * np.sin(0.55 * y + 0.4 * z)
    v = y * np.float32(1.15) + 0.8 * np.sin(0.5 * z - 0.6 * x)
    w = z + 0.9 * np.sin(0.6 * x + 0.45 * y)
    total = np.sin(u) * np.cos(v) + np.sin(v) * np.cos(w) + np.sin(w) * np.cos(u)
    return single((-total - np.float32(0.12)) * np.float32(LOOP_MM / 2 / np.pi / 1.5))


SMALL_BOWEL = without(
    common(
        ellipsoid((0, 34, -42), (104, 54, 100)),
        Solid(_loops),
        grown(CAVITY, -5),
    ),
    ellipsoid((8, -24, -20), (46, 42, 130)),
    *COLON,
    gap=3,
)


def paint(canvas: Canvas, own: Look) -> None:
    """Paint bowel and bladder with this patient's contents."""
    wall, blur = own.hu["wall"], canvas.blur_mm
    canvas.paint(SMALL_BOWEL, layered(wall + 20, _chyme(own), 3, blur))
    for n, part in enumerate(COLON):
        canvas.paint(part, layered(wall, _stool(own, n), 3, blur))
    canvas.paint(DUODENUM, layered(wall + 10, _chyme(own), 3, blur))
    canvas.paint(BLADDER, layered(wall - 15, 8.0, 3, blur))


def _chyme(own: Look) -> Paint:
    where = Waves(stream(own.texture, 5), 90.0)

    def value(points: Points, _: Values) -> Values:
        filling = where(points)
        fluid = np.where(filling > 0.2, own.oral_contrast, 30)
        return single(np.where(filling < -1.5, -700, fluid))

    return value


def _stool(own: Look, part: int) -> Paint:
    rng = stream(own.texture, 6, part)
    grain, where, dry = Waves(rng, 13.0, 8), Waves(rng, 110.0), float(rng.uniform(-20, 70))
    gas_level = float(rng.uniform(-0.4, 1.6))

    def value(points: Points, _: Values) -> Values:
        stool = dry + 45 * grain(points) - 350 * np.maximum(grain(points) - 1.1, 0)
        return single(np.where(where(points) > gas_level, -900, stool))

    return value
