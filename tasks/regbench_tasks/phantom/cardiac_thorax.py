"""What surrounds the heart in short-axis slices: lungs, chest wall, liver, stomach, descending aorta, spine."""

import numpy as np

from regbench_tasks.phantom.canvas import Canvas
from regbench_tasks.phantom.paints import mottled
from regbench_tasks.phantom.random_fields import Waves
from regbench_tasks.phantom.shapes import Points, Solid, Values, common, ellipsoid, grown, single, tube


def paint_thorax(canvas: Canvas, rng: np.random.Generator, floor: float) -> None:
    """Paint the surroundings, with the diaphragm at y = `floor` mm below the heart.

    +x is the patient's right, +y the front, +z towards the base of the heart.
    """
    width, depth = float(rng.normal(98, 4)), float(rng.normal(80, 3))
    cage = _cage((float(rng.normal(6, 3)), float(rng.normal(-17, 2))), (width, depth))
    fat, muscle = float(rng.normal(235, 15)), float(rng.normal(62, 7))
    thickness, texture = float(rng.uniform(9, 26)), Waves(rng, 24.0)
    canvas.paint(grown(cage, 17 + thickness), mottled(fat, (14, texture)))
    canvas.paint(grown(cage, 15), mottled(muscle, (9, texture)))
    canvas.paint(_ribs(cage), 130)
    vessels = Waves(rng, 13.0)
    canvas.paint(cage, lambda p, _: single(np.where(vessels(p) > 1.7, 70, 17 + 4 * texture(p))))
    _paint_belly(canvas, rng, cage, floor)
    _paint_back(canvas, rng)


def _cage(centre: tuple[float, float], radii: tuple[float, float]) -> Solid:
    """The inside of the rib cage: narrower towards the base of the heart, flattened in front."""

    def distance(points: Points) -> Values:
        x, y, z = points
        u = (x - centre[0]) / (radii[0] - 0.08 * z)
        v = (y - centre[1]) / (radii[1] - 0.05 * z)
        norm = (np.abs(u) ** 2.5 + np.abs(v) ** 2.5) ** np.float32(0.4)
        reach = np.hypot(x - centre[0], y - centre[1])
        return single(reach - reach / np.maximum(norm, 1e-3))

    return Solid(distance)


def _ribs(cage: Solid) -> Solid:
    def distance(points: Points) -> Values:
        x, y, z = points
        angle = np.arctan2(y, x)
        # ribs cross short-axis slices at a slant: along the wall they come one after the other
        along = angle * 90 + 0.8 * z
        offset = along - 42 * np.round(along / 42)
        return single(np.sqrt((offset / 2.2) ** 2 + (cage(points) - 7) ** 2) - 4.5)

    return Solid(distance)


def _paint_belly(canvas: Canvas, rng: np.random.Generator, cage: Solid, floor: float) -> None:
    level, slope = floor + float(rng.normal(0, 2)), float(rng.normal(-0.20, 0.05))
    texture, fluid = Waves(rng, 16.0), float(rng.choice([30.0, 120.0, 210.0]))

    def under(points: Points, lift: float = 0.0) -> Values:
        x, y, z = points
        dome = level + lift + slope * z + 0.06 * x - 0.0022 * (x - 12) ** 2
        return single((y - dome) * np.float32(0.85))

    belly = common(Solid(lambda p: under(p, 3.0)), grown(cage, -1))
    canvas.paint(belly, 70)
    fat = common(Solid(under), grown(cage, -2))
    canvas.paint(fat, lambda p, _: 175 + 25 * texture(p))
    liver = common(fat, Solid(lambda p: single(-12 - p[0] - 0.3 * p[1] - 15)), blend=12)
    liver_signal = float(rng.normal(78, 10))
    canvas.paint(liver, lambda p, _: liver_signal + 3 * texture(p) + 45 * (texture(p) > 1.75))
    stomach = common(grown(fat, -5), ellipsoid((-52, -88, -22), (36, 34, 44)), blend=6)
    canvas.paint(stomach, 85)
    canvas.paint(grown(stomach, -4), lambda p, _: single(np.where(p[1] > -74, 15, fluid)))
    spleen = common(grown(fat, -4), ellipsoid((-84, -70, 16), (22, 30, 34)), blend=4)
    canvas.paint(spleen, 120)


def _paint_back(canvas: Canvas, rng: np.random.Generator) -> None:
    x = float(rng.normal(-34, 4))
    blood = float(rng.normal(205, 15))
    canvas.paint(ellipsoid((-2, -98, 0), (21, 17, 400)), 110)
    canvas.paint(ellipsoid((-2, -98, 0), (19, 15, 400)), 135)
    aorta = [(x + 4, -72.0, 90.0), (x, -70.0, 0.0), (x + 6, -73.0, -90.0)]
    canvas.paint(tube(aorta, [13, 12.5, 12]), 75)
    canvas.paint(tube(aorta, [11.2, 10.8, 10.4]), blood)
