"""From a patient's map and look to a CT scan and its label map."""

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from regbench.api import Grid
from regbench_tasks.phantom import abdomen_bowel as bowel
from regbench_tasks.phantom import abdomen_organs as organs
from regbench_tasks.phantom import abdomen_trunk as trunk
from regbench_tasks.phantom.abdomen_patient import NOISE, VERSION, Look, anatomy_map, look
from regbench_tasks.phantom.canvas import Canvas, Paint
from regbench_tasks.phantom.paints import layered, mottled, value_of
from regbench_tasks.phantom.random_fields import Waves, smooth_noise, stream
from regbench_tasks.phantom.shapes import Points, Solid, Values, single

AIR_HU = -1000.0
LOWEST_HU = -1024
TABLE_MM, TABLE_HU = -131.0, -250.0


def scan(seed: int, case: int, grid: Grid) -> tuple[Int16[np.ndarray, "i j k"], UInt8[np.ndarray, "i j k"]]:
    """Image (HU) and label map of a case."""
    canvas = Canvas(anatomy_map(seed, case).on_grid(grid), float(np.cbrt(np.prod(grid.spacing_mm))), AIR_HU)
    own = look(seed, case)
    _paint_trunk(canvas, own)
    bowel.paint(canvas, own)
    _paint_organs(canvas, own)
    _lay_on_table(canvas.image, grid)
    image = canvas.image + _noise(canvas.image, own, stream(VERSION, seed, case, NOISE), grid)
    image[~_scanned(own, grid)] = LOWEST_HU
    canvas.labels[~_scanned(own, grid)] = 0
    return np.clip(np.round(image), LOWEST_HU, 3071).astype(np.int16), canvas.labels


def _paint_trunk(canvas: Canvas, own: Look) -> None:
    hu, texture = own.hu, Waves(stream(own.texture, 1), 14.0)
    canvas.paint(trunk.SKIN, layered(15.0, hu["fat"], 2.2, canvas.blur_mm))
    canvas.paint(trunk.WALL, hu["muscle"])
    canvas.paint(trunk.CAVITY, mottled(hu["fat"], (7, texture)))
    for muscle in trunk.MUSCLES:
        canvas.paint(muscle, mottled(hu["muscle"], (6, texture)))
    canvas.paint(trunk.LUNGS, lambda p, _: np.where(texture(p) > 1.9, -60, -840 + 25 * texture(p)))
    canvas.paint(trunk.HEART, layered(hu["heart"] * 0.75, hu["heart"], 11, canvas.blur_mm))
    for bone in (trunk.RIB_CAGE, trunk.STERNUM, trunk.PELVIS, trunk.FEMORA, trunk.SACRUM, trunk.NEURAL_ARCHES):
        canvas.paint(bone, _bone(own))
    canvas.paint(trunk.VERTEBRAE, _vertebra(own))
    canvas.paint(trunk.CANAL, 25.0)
    canvas.paint(trunk.CRURA, hu["muscle"])


def _bone(own: Look) -> Paint:
    def value(_: Points, distance: Values) -> Values:
        shell = np.clip((distance + 4.5) / 2, 0, 1)
        return single(own.hu["marrow"] + (own.hu["bone"] - own.hu["marrow"]) * shell)

    return value


def _vertebra(own: Look) -> Paint:
    bone = _bone(own)

    def value(points: Points, distance: Values) -> Values:
        disc = trunk.disc_share(points)
        return single(value_of(bone, points, distance) * (1 - disc) + 85 * disc)

    return value


def _paint_organs(canvas: Canvas, own: Look) -> None:
    paints, details = _organ_paints(own, canvas.blur_mm), _details(own)
    for name, solid in organs.ORGANS.items():
        if name != "gallbladder" or own.gallbladder:
            canvas.paint(solid, paints[name], label=organs.NUMBERS[name])
        for detail, paint in details.get(name, ()):
            canvas.paint(detail, paint)


def _organ_paints(own: Look, blur_mm: float) -> dict[str, Paint]:
    hu = own.hu
    fine, coarse = Waves(stream(own.texture, 2), 9.0, 8), Waves(stream(own.texture, 3), 40.0)
    # in the first half minute the spleen takes up contrast in patches
    patches = 22.0 if own.phase == "arterial" else 3.0
    stomach = layered(hu["wall"] + 15, _stomach_content(own, fine), organs.STOMACH_WALL_MM, blur_mm)
    return {
        "liver": mottled(hu["liver"], (4, fine), (3, coarse)),
        "spleen": mottled(hu["spleen"], (3, fine), (patches, coarse)),
        "stomach": stomach,
        "pancreas": mottled(hu["pancreas"], (11, fine)),
        "right kidney": hu["cortex"],
        "left kidney": hu["cortex"],
        "right adrenal gland": hu["adrenal"],
        "left adrenal gland": hu["adrenal"],
        "gallbladder": hu["bile"],
        "esophagus": hu["wall"] - 12,
        "portal and splenic vein": hu["portal"],
        "inferior vena cava": lambda p, _: _cava(own, p),
        "aorta": hu["aorta"],
    }


def _details(own: Look) -> dict[str, list[tuple[Solid, Paint]]]:
    """What is painted without a label after an organ, by the organ's name."""
    hu, rays = own.hu, Waves(stream(own.texture, 4), 16.0)
    medulla = mottled(hu["medulla"], (0.12 * (hu["cortex"] - hu["medulla"]), rays))
    sinus = mottled(-45, (40, rays))
    vessels: list[tuple[Solid, Paint]] = [
        (organs.RENAL_VEINS, hu["cava"]),
        (organs.SMALL_ARTERIES, hu["aorta"]),
        (organs.MESENTERIC_VESSELS, 0.5 * (hu["aorta"] + hu["portal"])),
        (organs.ILIAC_VEINS, 0.5 * hu["cava"] + 30),
        (organs.ILIAC_ARTERIES, hu["aorta"]),
    ]
    return {
        "liver": [(organs.PORTAL_BRANCHES, hu["portal"]), (organs.HEPATIC_VEINS, hu["hepatic veins"])],
        "right kidney": [(organs.RIGHT_MEDULLA, medulla), (organs.RIGHT_SINUS, sinus)],
        "left kidney": [(organs.LEFT_MEDULLA, medulla), (organs.LEFT_SINUS, sinus), *vessels],
    }


def _stomach_content(own: Look, fine: Waves) -> Paint:
    def value(points: Points, _: Values) -> Values:
        fluid = own.oral_contrast + (12 if own.oral_contrast < 100 else 30) * fine(points)
        gas = np.clip((points[1] - own.stomach_level) / 3 + 0.5, 0, 1)
        return single(fluid + gas * (-950 - fluid))

    return value


def _cava(own: Look, points: Points) -> Values:
    # the blood of the legs brings its contrast later than that of the kidneys
    above = 1 / (1 + np.exp(-(points[2] - np.float32(85)) / 10))
    return single(own.hu["cava"] * (0.72 + 0.28 * above) + 10 * (1 - above))


def _noise(
    image: Float32[np.ndarray, "i j k"], own: Look, rng: np.random.Generator, grid: Grid
) -> Float32[np.ndarray, "i j k"]:
    size = float(np.cbrt(np.prod(grid.spacing_mm)))
    grain = smooth_noise(rng, grid.shape, 0.55) * np.float32(own.noise_hu * (2 / max(size, 2)) ** 0.8)
    # photons are few where rays pass much bone from side to side: streaks along x
    dense = np.clip(image - 150, 0, 400).mean(axis=0, keepdims=True) / np.float32(12)
    streaks = smooth_noise(rng, grid.shape, (30 / grid.spacing_mm[0], 0.5, 0.3))
    return single(grain + streaks * dense * np.float32(min(1.0, 2.5 / size) * 2))


def _lay_on_table(image: Float32[np.ndarray, "i j k"], grid: Grid) -> None:
    """A thin curved table top below the patient, where there is nothing but air."""
    x, y = (grid.affine[a, 3] + grid.affine[a, a] * np.arange(grid.shape[a]) for a in (0, 1))
    depth = np.abs(y[None, :] - (TABLE_MM + x[:, None] ** 2 / 1500))
    share = np.clip(0.5 - (depth - 2) / max(grid.spacing_mm[1], 2.0), 0, 1) * (np.abs(x[:, None]) < 175)
    board = share[:, :, None].astype(np.float32) * np.float32(TABLE_HU - AIR_HU)
    image += np.where(image < -900, board, 0)


def _scanned(own: Look, grid: Grid) -> np.ndarray:
    x, y, z = (grid.affine[a, 3] + grid.affine[a, a] * np.arange(n) for a, n in enumerate(grid.shape))
    tilt = own.floor_tilt
    floor = own.floor_mm + tilt[0] * x[:, None, None] + tilt[1] * y[None, :, None]
    covered: np.ndarray = z[None, None, :] >= floor
    return covered
