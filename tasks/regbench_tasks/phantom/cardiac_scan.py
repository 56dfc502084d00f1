"""From a heart and its thorax to a slice stack of cine MR and its label map."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from regbench.api import Grid
from regbench_tasks.phantom.canvas import Canvas
from regbench_tasks.phantom.cardiac_motion import contraction
from regbench_tasks.phantom.cardiac_patient import LOOK, NOISE, RV_WALL_MM, VERSION, Heart, heart
from regbench_tasks.phantom.cardiac_thorax import paint_thorax
from regbench_tasks.phantom.paints import layered, mottled
from regbench_tasks.phantom.random_fields import Waves, smooth_noise, stream
from regbench_tasks.phantom.shapes import EVERYWHERE, Points, Solid, Triple, Values, ellipsoid, single, tube, union

Surface = Callable[[Values, Values], Values]

PHASES = ("ED", "ES")
RIGHT, MUSCLE, LEFT = 1, 2, 3
THICK_MM = 7.0


def coordinates(seed: int, case: int, phase: str, grid: Grid) -> Float32[np.ndarray, "3 i j k"]:
    """Where each voxel of a phase lies at end-diastole, in mm."""
    if phase == "ES":
        return contraction(seed, case).on_grid(grid)
    axes = [grid.affine[a, 3] + grid.affine[a, a] * np.arange(n) for a, n in enumerate(grid.shape)]
    return single(np.stack(np.meshgrid(*axes, indexing="ij")))


def scan(seed: int, case: int, phase: str, grid: Grid) -> tuple[Int16[np.ndarray, "i j k"], UInt8[np.ndarray, "i j k"]]:
    """Image and label map of one phase of a case."""
    own = heart(seed, case)
    canvases = [_painted(seed, case, own, phase, part) for part in _slabs(grid)]
    signal = np.stack([c.image for c in canvases]).mean(axis=0)
    rng = stream(VERSION, seed, case, NOISE, PHASES.index(phase))
    labels = canvases[len(canvases) // 2].labels
    return _acquired(signal, stream(VERSION, seed, case, LOOK), rng, grid), labels


def _slabs(grid: Grid) -> list[Grid]:
    """The grid itself, or for thick slices three grids whose mean is the slice."""
    thickness = grid.spacing_mm[2]
    if thickness < THICK_MM:
        return [grid]
    grids = []
    for offset in (-0.3 * thickness, 0.0, 0.3 * thickness):
        affine = grid.affine.copy()
        affine[2, 3] += offset
        grids.append(Grid(grid.shape, affine))
    return grids


def _painted(seed: int, case: int, own: Heart, phase: str, grid: Grid) -> Canvas:
    canvas = Canvas(coordinates(seed, case, phase, grid), 1.15 * max(grid.spacing_mm[:2]), 12.0)
    rng = stream(VERSION, seed, case, LOOK, 1)
    paint_thorax(canvas, rng, _floor(own))
    inflow = float(stream(VERSION, seed, case, LOOK, 2, PHASES.index(phase)).normal(1, 0.06))
    _paint_heart(canvas, own, rng, inflow)
    return canvas


def _floor(own: Heart) -> float:
    """Y of the diaphragm below the left ventricle."""
    return own.centre[1] - own.typical.radius - own.typical.wall - 5


def _paint_heart(canvas: Canvas, own: Heart, rng: np.random.Generator, inflow: float) -> None:
    blood, muscle = inflow * float(rng.normal(215, 14)), float(rng.normal(72, 9))
    fat, coarse, fine = float(rng.normal(190, 20)), Waves(rng, 30.0), Waves(rng, 11.0)
    surfaces = Surfaces(own)
    canvas.paint(_mediastinum(own), mottled(0.55 * fat, (16, coarse)))
    canvas.paint(surfaces.coat(RV_WALL_MM + 4.5), lambda p, _: fat * (0.42 + 0.30 * np.clip(coarse(p), -1, 1)))
    canvas.paint(surfaces.coat(RV_WALL_MM), muscle)
    for chamber in great_vessels(own):
        canvas.paint(chamber, layered(muscle, mottled(blood, (8, coarse)), 2.0, canvas.blur_mm))
    canvas.paint(surfaces.right, lambda p, d: blood - 4 + 8 * coarse(p) - 80 * _strands(fine, p, d, 6.0), label=RIGHT)
    canvas.paint(surfaces.outer, mottled(muscle, (7, fine)), label=MUSCLE)
    canvas.paint(surfaces.inner, lambda p, d: blood + 8 * coarse(p) - 80 * _strands(fine, p, d, 4.0), label=LEFT)
    for papillary in _papillaries(own):
        canvas.paint(papillary, muscle + 12)


def _strands(fine: Waves, points: Points, distance: Values, depth: float) -> Values:
    """Trabeculae: strands of muscle near the wall."""
    near = np.clip(1 + distance / np.float32(depth), 0, 1)
    return single(near * np.clip(fine(points) + 0.2, 0, 1))


class Surfaces:
    """The heart's surfaces at end-diastole as solids."""

    def __init__(self, own: Heart) -> None:
        self._own = own
        self.inner = self._solid(own.endocardium)
        self.outer = self._solid(own.epicardium)
        self.right = self._solid(own.right_wall, floor=own.right_apex)

    def coat(self, thickness: float) -> Solid:
        """Both ventricles with a coat around them."""
        return self._solid(self._own.right_wall, margin=thickness)

    def _solid(self, surface: Surface, *, margin: float = 0.0, floor: float = -1e3) -> Solid:
        own = self._own

        def distance(points: Points) -> Values:
            x, y, z = own.local(points)
            across = np.hypot(x, y)
            radius = surface(single(np.arctan2(y, x)), z) + margin
            # near the apex the surface runs across the axis: a distance along z tells more than one along r
            steep = np.clip((z - own.apex + 14) / 30, 0.35, 1)
            beside = np.where(radius > margin + 0.01, (across - radius) * steep, across + 1)
            return single(np.maximum(np.maximum(beside, z - own.base), floor - z))

        reach = 1.1 * (own.typical.radius + own.typical.wall + own.typical.septum) + own.typical.width + margin
        x, y, _ = own.centre
        return Solid(distance, (x - reach, y - reach, -EVERYWHERE), (x + reach, y + reach, EVERYWHERE))


def _papillaries(own: Heart) -> list[Solid]:
    radius, bottom = own.typical.radius, own.apex + 0.28 * (own.base - own.apex)
    solids = []
    for turn in (2.1, -2.4):
        angle = own.right_angle + turn
        low, high = ((0.74 * radius, bottom), (0.60 * radius, bottom + 26))
        path = [_world(own, r * np.cos(angle), r * np.sin(angle), z) for r, z in (low, high)]
        solids.append(tube(path, [0.26 * radius, 0.16 * radius]))
    return solids


def _mediastinum(own: Heart) -> Solid:
    r, b = own.typical.radius, own.base
    return union(
        ellipsoid(_world(own, 0.5 * r, -0.2 * r, b + 30), (2.5 * r, 2.0 * r, 36)),
        ellipsoid(_world(own, 2.0 * r, 1.2 * r, b - 10), (1.3 * r, 0.7 * r, 50)),
        blend=12,
    )


def great_vessels(own: Heart) -> list[Solid]:
    """Atria, aortic root and pulmonary trunk above the valves, with their walls."""
    r, b = own.typical.radius, own.base
    out = own.right_angle + 0.75
    root = [_world(own, 0.15 * r, 0.30 * r, b - 2), _world(own, 0.45 * r, 0.35 * r, b + 40)]
    trunk = [_world(own, 1.35 * r * np.cos(out), 1.5 * r * np.sin(out), b - 2), _world(own, 0.4 * r, 1.45 * r, b + 40)]
    return [
        ellipsoid(_world(own, -0.35 * r, -0.75 * r, b + 20), (29, 23, 22)),
        ellipsoid(_world(own, 1.5 * r, -0.55 * r, b + 18), (23, 27, 22)),
        tube(root, [14.5, 16.5]),
        tube(trunk, [14, 15]),
    ]


def _world(own: Heart, x: float, y: float, z: float) -> Triple:
    a, b, c = (np.asarray(own.centre) + own.axes @ np.array([x, y, z])).tolist()
    return a, b, c


def _acquired(
    signal: Float32[np.ndarray, "i j k"], look: np.random.Generator, rng: np.random.Generator, grid: Grid
) -> Int16[np.ndarray, "i j k"]:
    """What the scanner makes of it: coil sensitivities, slice-wise gain, Rician noise, a scale of its own."""
    scale, strength = float(np.exp(look.uniform(np.log(0.9), np.log(5)))), float(look.uniform(0.3, 0.6))
    x, y, z = (
        (grid.affine[a, 3] + grid.affine[a, a] * np.arange(n))
        .astype(np.float32)
        .reshape([-1 if b == a else 1 for b in range(3)])
        for a, n in enumerate(grid.shape)
    )
    tilt = look.normal(0, 0.12, 3)
    bias = 1 + strength * np.tanh((y + 0.4 * x) / 70) + tilt[0] * x / 96 + tilt[1] * z / 50 + tilt[2] * x * y / 9216
    gain = 1 + 0.03 * look.standard_normal(16)
    slices = single(np.interp(np.linspace(0, 15, grid.shape[2]), np.arange(16), gain))
    clean = signal * np.maximum(bias, 0.15) * slices
    sigma = np.float32(look.uniform(4, 8) * (1.5 / max(grid.spacing_mm[0], 1.5)) ** 0.5)
    real, imaginary = (sigma * smooth_noise(rng, grid.shape, (0.45, 0.45, 0.0)) for _ in range(2))
    magnitude = np.sqrt((clean + real) ** 2 + imaginary**2)
    image: Int16[np.ndarray, "i j k"] = np.clip(np.round(magnitude * scale), 0, 32000).astype(np.int16)
    return image
