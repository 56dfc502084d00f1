"""From a patient's map and look to a CT scan and its label map."""

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from regbench.api import Grid
from regbench_tasks.phantom import abdomen_bowel as bowel
from regbench_tasks.phantom import abdomen_organs as organs
from regbench_tasks.phantom import abdomen_trunk as trunk
from regbench_tasks.phantom.abdomen_patient import NOISE, VERSION, Look, anatomy_map, look
from regbench_tasks.phantom.canvas import Canvas
from regbench_tasks.phantom.random_fields import Waves, smooth_noise, stream
from regbench_tasks.phantom.shapes import Points, Values, grown

AIR_HU = -1000.0
LOWEST_HU = -1024


def scan(seed: int, case: int, grid: Grid) -> tuple[Int16[np.ndarray, "i j k"], UInt8[np.ndarray, "i j k"]]:
    """Image (HU) and label map of a case."""
    canvas = Canvas(anatomy_map(seed, case).on_grid(grid), float(np.cbrt(np.prod(grid.spacing_mm))), AIR_HU)
    own = look(seed, case)
    _paint_trunk(canvas, own)
    bowel.paint(canvas, own)
    _paint_organs(canvas, own)
    image = canvas.image + _noise(canvas.image, own, stream(VERSION, seed, case, NOISE), grid)
    image[~_scanned(own, grid)] = LOWEST_HU
    canvas.labels[~_scanned(own, grid)] = 0
    return np.clip(np.round(image), LOWEST_HU, 3071).astype(np.int16), canvas.labels


def _paint_trunk(canvas: Canvas, own: Look) -> None:
    hu, texture = own.hu, Waves(stream(own.texture, 1), 14.0)
    canvas.paint(trunk.SKIN, 15.0)
    canvas.paint(grown(trunk.SKIN, -2.2), hu["fat"])
    canvas.paint(trunk.WALL, hu["muscle"])
    canvas.paint(trunk.CAVITY, lambda p, _: hu["fat"] + 7 * texture(p))
    for muscle in trunk.MUSCLES:
        canvas.paint(muscle, lambda p, _: hu["muscle"] + 6 * texture(p))
    canvas.paint(trunk.DIAPHRAGM, hu["muscle"], opacity=0.0001)
    canvas.paint(trunk.LUNGS, lambda p, _: np.where(texture(p) > 1.9, -60, -840 + 25 * texture(p)).astype(np.float32))
    canvas.paint(trunk.HEART, hu["heart"] * 0.75)
    canvas.paint(grown(trunk.HEART, -11), hu["heart"])
    for bone in (trunk.RIB_CAGE, trunk.STERNUM, trunk.PELVIS, trunk.FEMORA, trunk.SACRUM, trunk.NEURAL_ARCHES):
        canvas.paint(bone, _bone(own))
    canvas.paint(trunk.VERTEBRAE, _vertebra(own))
    canvas.paint(trunk.CANAL, 25.0)
    canvas.paint(trunk.CRURA, hu["muscle"])


def _bone(own: Look):  # type: ignore[no-untyped-def]
    def value(_: Points, distance: Values) -> Values:
        shell = np.clip((distance + 4.5) / 2, 0, 1)
        return (own.hu["marrow"] + (own.hu["bone"] - own.hu["marrow"]) * shell).astype(np.float32)

    return value


def _vertebra(own: Look):  # type: ignore[no-untyped-def]
    bone = _bone(own)

    def value(points: Points, distance: Values) -> Values:
        disc = trunk.disc_share(points)
        return (bone(points, distance) * (1 - disc) + 85 * disc).astype(np.float32)

    return value


def _paint_organs(canvas: Canvas, own: Look) -> None:
    hu = own.hu
    fine, coarse = Waves(stream(own.texture, 2), 9.0, 8), Waves(stream(own.texture, 3), 40.0)
    mottle = 22.0 if own.phase == "arterial" else 3.0
    values = {
        1: lambda p, _: hu["spleen"] + 3 * fine(p) + mottle * coarse(p),
        4: hu["bile"],
        5: hu["wall"] - 12,
        6: lambda p, _: hu["liver"] + 4 * fine(p) + 3 * coarse(p),
        8: hu["aorta"],
        9: lambda p, _: _cava(own, p),
        10: hu["portal"],
        11: lambda p, _: hu["pancreas"] + 11 * fine(p),
        12: hu["adrenal"],
        13: hu["adrenal"],
    }
    for number, solid in organs.ORGANS.items():
        if number == 4 and not own.gallbladder:
            continue
        if number in (2, 3):
            _paint_kidney(canvas, own, number)
        elif number == 7:
            canvas.paint(solid, hu["wall"] + 15, label=7)
            canvas.paint(organs.STOMACH_LUMEN, _stomach_content(own, fine))
        else:
            canvas.paint(solid, values[number], label=number)
        if number == 6:
            canvas.paint(organs.PORTAL_BRANCHES, hu["portal"])
            canvas.paint(organs.HEPATIC_VEINS, hu["hepatic veins"])
        if number == 3:
            canvas.paint(organs.RENAL_VEINS, hu["cava"])
            canvas.paint(organs.SMALL_ARTERIES, hu["aorta"])
            canvas.paint(organs.ILIAC_VEINS, 0.5 * hu["cava"] + 30)
            canvas.paint(organs.ILIAC_ARTERIES, hu["aorta"])


def _paint_kidney(canvas: Canvas, own: Look, number: int) -> None:
    right = number == 2
    canvas.paint(organs.RIGHT_KIDNEY if right else organs.LEFT_KIDNEY, own.hu["cortex"], label=number)
    rays = Waves(stream(own.texture, 4), 16.0)
    medulla = organs.RIGHT_MEDULLA if right else organs.LEFT_MEDULLA
    canvas.paint(medulla, lambda p, _: own.hu["medulla"] + 0.12 * (own.hu["cortex"] - own.hu["medulla"]) * rays(p))
    canvas.paint(organs.RIGHT_SINUS if right else organs.LEFT_SINUS, lambda p, _: -45 + 40 * rays(p))


def _stomach_content(own: Look, fine: Waves):  # type: ignore[no-untyped-def]
    def value(points: Points, _: Values) -> Values:
        fluid = own.oral_contrast + (12 if own.oral_contrast < 100 else 30) * fine(points)
        gas = np.clip((points[1] - own.stomach_level) / 3 + 0.5, 0, 1)
        return (fluid + gas * (-950 - fluid)).astype(np.float32)

    return value


def _cava(own: Look, points: Points) -> Values:
    # the blood of the legs brings its contrast later than that of the kidneys
    above = 1 / (1 + np.exp(-(points[2] - np.float32(85)) / 10))
    return (own.hu["cava"] * (0.72 + 0.28 * above) + 10 * (1 - above)).astype(np.float32)


def _noise(
    image: Float32[np.ndarray, "i j k"], own: Look, rng: np.random.Generator, grid: Grid
) -> Float32[np.ndarray, "i j k"]:
    size = float(np.cbrt(np.prod(grid.spacing_mm)))
    grain = smooth_noise(rng, grid.shape, 0.55) * np.float32(own.noise_hu * (2 / max(size, 2)) ** 0.8)
    # photons are few where rays pass much bone from side to side: streaks along x
    dense = np.clip(image - 150, 0, 400).mean(axis=0, keepdims=True) / np.float32(12)
    streaks = smooth_noise(rng, grid.shape, (30 / grid.spacing_mm[0], 0.5, 0.3))
    return (grain + streaks * dense * np.float32(min(1.0, 2.5 / size) * 2)).astype(np.float32)


def _scanned(own: Look, grid: Grid) -> np.ndarray:
    x, y, z = (grid.affine[a, 3] + grid.affine[a, a] * np.arange(n) for a, n in enumerate(grid.shape))
    tilt = own.floor_tilt
    floor = own.floor_mm + tilt[0] * x[:, None, None] + tilt[1] * y[None, :, None]
    covered: np.ndarray = z[None, None, :] >= floor
    return covered
