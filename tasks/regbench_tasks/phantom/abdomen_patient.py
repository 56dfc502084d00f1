"""How one abdomen differs from another: a smooth invertible map of the shared anatomy; contrast medium and scanner.

The map is the flow of a log-Euclidean polyaffine velocity (Arsigny et al., J. Math. Imaging Vis. 33, 2009): each organ
has a handle with a shift, a turn and a scaling of its own, blended by Gaussian weights, on top of smooth random
velocities of the whole trunk.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from regbench_tasks.phantom.abdomen_trunk import SKIN
from regbench_tasks.phantom.random_fields import flow, smooth_noise, stream
from regbench_tasks.phantom.shapes import Triple, single
from regbench_tasks.phantom.spline import ControlGrid, SplineMap

VERSION = 1
"""Goes up with every change that changes a voxel."""

BOX_MM = (384.0, 320.0, 512.0)
CONTROL = ControlGrid(BOX_MM, rim_mm=50.0, step_mm=(12.0, 12.0, 12.0))
MAP, LOOK, NOISE = 1, 2, 3


class Handle(NamedTuple):
    """How a part of the body varies: where, how far its influence reaches, and standard deviations.

    `reach` is the Gaussian width in mm; `shift` in mm; `turn` in radians; `size` in logarithms of lengths.
    """

    centre: Triple
    reach: Triple
    shift: Triple
    turn: float = 0.12
    size: float = 0.10


HANDLES = {
    "liver": Handle((66, 22, 135), (52, 50, 50), (7, 8, 12), 0.12, 0.12),
    "left lobe": Handle((-15, 50, 155), (28, 28, 28), (11, 9, 10), 0.2, 0.25),
    "spleen": Handle((-100, -36, 140), (30, 36, 46), (7, 10, 15), 0.20, 0.18),
    "right kidney": Handle((62, -44, 66), (30, 28, 46), (9, 10, 17), 0.18, 0.12),
    "left kidney": Handle((-62, -46, 84), (30, 28, 46), (9, 10, 17), 0.18, 0.12),
    "fundus": Handle((-62, 8, 165), (34, 34, 34), (13, 15, 15), 0.25, 0.32),
    "antrum": Handle((-30, 54, 100), (38, 30, 34), (18, 16, 25), 0.25, 0.38),
    "gallbladder": Handle((62, 54, 84), (24, 24, 28), (23, 19, 25), 0.4, 0.34),
    "pancreatic head": Handle((26, 26, 82), (22, 20, 24), (8, 9, 10), 0.2, 0.12),
    "pancreatic tail": Handle((-62, -2, 122), (28, 24, 22), (8, 10, 11), 0.2, 0.12),
    "porta": Handle((38, 22, 130), (24, 22, 22), (8, 8, 9), 0.15, 0.10),
    "upper aorta": Handle((-16, -8, 190), (20, 20, 44), (6, 7, 4), 0.08, 0.12),
    "middle aorta": Handle((-10, -4, 105), (18, 20, 40), (6, 7, 4), 0.08, 0.12),
    "lower aorta": Handle((-5, -2, 10), (20, 22, 44), (8, 7, 8), 0.08, 0.12),
    "upper cava": Handle((27, 8, 165), (18, 20, 36), (6, 7, 4), 0.08, 0.14),
    "middle cava": Handle((24, -2, 85), (18, 20, 38), (6, 7, 4), 0.08, 0.14),
    "lower cava": Handle((18, -10, -5), (18, 22, 40), (7, 6, 6), 0.08, 0.14),
    "esophagus": Handle((-16, 10, 195), (18, 18, 36), (7, 8, 6), 0.1, 0.10),
    "right adrenal": Handle((38, -22, 128), (16, 16, 20), (6, 6, 8), 0.2, 0.10),
    "left adrenal": Handle((-36, -18, 124), (16, 16, 20), (7, 7, 8), 0.2, 0.10),
    "upper spine": Handle((0, -55, 200), (22, 20, 48), (2, 2, 4), 0.04, 0.03),
    "middle spine": Handle((0, -52, 100), (22, 20, 48), (2, 2, 4), 0.04, 0.03),
    "lower spine": Handle((0, -50, -10), (22, 20, 52), (2, 2, 4), 0.04, 0.03),
    "bowel": Handle((0, 30, -20), (80, 50, 80), (10, 8, 14), 0.12, 0.08),
}
FREE_WEIGHT = 0.12
"""Weight of the motionless background beside the handles' weights."""
VISCERA_SHIFT_MM = 15.0
TRUNK_SHIFT_MM = (4.0, 5.0, 7.0)
TRUNK_TURN = 0.035
TRUNK_SIZE = 0.035
FAT_MM, FAT_REACH_MM = 6.0, 24.0
"""How much the thickness of the subcutaneous fat varies, and how deep that is felt."""
LONG_WAVE_MM, LONG_AMPLITUDE_MM = 55.0, 6.0
SHORT_WAVE_MM, SHORT_AMPLITUDE_MM = 24.0, 2.6


@cache
def anatomy_map(seed: int, case: int) -> SplineMap:
    """Patient → shared anatomy, in mm; smooth, invertible, not a function of how finely it is sampled."""
    rng = stream(VERSION, seed, case, MAP)
    velocity = _polyaffine(rng) + _trunk(rng) + _fat(rng) + _ripples(rng)
    return flow(single(velocity * CONTROL.fade()), CONTROL)


def _polyaffine(rng: np.random.Generator) -> Float32[np.ndarray, "3 i j k"]:
    points = np.stack(CONTROL.points())
    total = np.full(CONTROL.shape, FREE_WEIGHT, dtype=np.float32)
    velocity = np.zeros_like(points)
    for handle in HANDLES.values():
        offset = points - _column(handle.centre)
        weight = single(np.exp(-0.5 * ((offset / _column(handle.reach)) ** 2).sum(0)))
        shift, generator = rng.standard_normal(3) * handle.shift, _generator(rng, handle.turn, handle.size)
        velocity += weight * (_apply(generator, offset) + _column(shift))
        total += weight
    return single(velocity / np.maximum(total, 1.0))


def _trunk(rng: np.random.Generator) -> Float32[np.ndarray, "3 i j k"]:
    points = np.stack(CONTROL.points())
    viscera = np.exp(-0.5 * (((points - _column((0, 10, 110))) / _column((85, 60, 85))) ** 2).sum(0))
    velocity = _apply(_generator(rng, TRUNK_TURN, TRUNK_SIZE), points) + _column(
        rng.standard_normal(3) * TRUNK_SHIFT_MM
    )
    velocity[2] += single(rng.standard_normal() * VISCERA_SHIFT_MM * viscera)
    return single(velocity)


def _fat(rng: np.random.Generator) -> Float32[np.ndarray, "3 i j k"]:
    x, y, z = CONTROL.points()
    near_skin = np.exp(-((SKIN((x, y, z)) / np.float32(FAT_REACH_MM)) ** 2)) / np.maximum(np.hypot(x, y), 20)
    thicker = rng.standard_normal() * FAT_MM
    return single(thicker * near_skin * np.stack([x, y, np.zeros_like(z)]))


def _ripples(rng: np.random.Generator) -> Float32[np.ndarray, "3 i j k"]:
    waves = ((LONG_WAVE_MM, LONG_AMPLITUDE_MM), (SHORT_WAVE_MM, SHORT_AMPLITUDE_MM))
    velocity = np.zeros((3, *CONTROL.shape), dtype=np.float32)
    for width, amplitude in waves:
        for component in velocity:
            component += amplitude * smooth_noise(rng, CONTROL.shape, width / np.array(CONTROL.step_mm))
    return velocity


def _generator(rng: np.random.Generator, turn: float, size: float) -> Float[np.ndarray, "3 3"]:
    a, b, c = rng.standard_normal(3) * turn
    # half of the change in size is common to the three directions, as organs grow
    sizes = size * (rng.standard_normal() * 0.7 + rng.standard_normal(3) * 0.7)
    generator: Float[np.ndarray, "3 3"] = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]]) + np.diag(sizes)
    return generator


def _apply(matrix: Float[np.ndarray, "3 3"], vectors: Float32[np.ndarray, "3 i j k"]) -> Float32[np.ndarray, "3 i j k"]:
    rows = [sum(np.float32(m) * v for m, v in zip(row, vectors, strict=True)) for row in matrix]
    return single(np.stack(rows))


def _column(triple: Triple | Float[np.ndarray, "3"]) -> Float32[np.ndarray, "3 1 1 1"]:
    return single(np.asarray(triple))[:, None, None, None]


HOUNSFIELD = {
    # phase: aorta, cava, portal, hepatic veins, liver, spleen, pancreas, cortex, medulla, adrenal, heart
    "portal venous": (155, 135, 172, 165, 112, 122, 96, 190, 160, 74, 150),
    "arterial": (290, 95, 115, 75, 74, 118, 108, 195, 85, 78, 220),
    "late": (118, 116, 122, 120, 98, 102, 82, 165, 172, 62, 115),
    "native": (44, 43, 44, 44, 58, 50, 42, 34, 33, 30, 44),
}
BLOOD_AND_ORGANS = (
    "aorta", "cava", "portal", "hepatic veins", "liver", "spleen", "pancreas", "cortex", "medulla", "adrenal", "heart",
)  # fmt: skip
PHASE_CHANCES = (0.58, 0.17, 0.15, 0.10)


@dataclass(frozen=True)
class Look:
    """What else differs from scan to scan.

    Attributes:
        phase: of the contrast medium.
        hu: intensity in Hounsfield units by tissue.
        gallbladder: whether there is one.
        oral_contrast: HU of what fills stomach and bowel.
        stomach_level: the gas in the stomach lies in front of this y, mm.
        noise_hu: standard deviation at 2 mm voxels.
        floor_mm: the scan ends below at this z (tilted a little by the pre-alignment).
        floor_tilt: rise of the lower end per mm along x and y.
        texture: seed of the contents of bowel and vessels.
    """

    phase: str
    hu: dict[str, float]
    gallbladder: bool
    oral_contrast: float
    stomach_level: float
    noise_hu: float
    floor_mm: float
    floor_tilt: tuple[float, float]
    texture: int


def look(seed: int, case: int) -> Look:
    """The scan's appearance, drawn apart from its shape."""
    rng = stream(VERSION, seed, case, LOOK)
    phase = tuple(HOUNSFIELD)[int(rng.choice(len(PHASE_CHANCES), p=PHASE_CHANCES))]
    spread = rng.normal(1.0, 0.09, len(BLOOD_AND_ORGANS))
    hu = {n: float(v * s) for n, v, s in zip(BLOOD_AND_ORGANS, HOUNSFIELD[phase], spread, strict=True)}
    hu["liver"] -= float(rng.uniform(25, 60)) if rng.random() < 0.2 else 0.0
    hu |= {"fat": float(rng.normal(-104, 5)), "muscle": float(rng.normal(57, 5)), "bone": float(rng.normal(420, 70))}
    hu |= {"marrow": float(rng.normal(190, 40)), "bile": float(rng.normal(12, 5)), "wall": float(rng.normal(62, 10))}
    return Look(
        phase=phase,
        hu=hu,
        gallbladder=bool(rng.random() > 0.1),
        oral_contrast=float(rng.choice([15.0, 35.0, 230.0, 330.0], p=[0.35, 0.25, 0.2, 0.2])),
        stomach_level=float(rng.uniform(15, 75)),
        noise_hu=float(rng.uniform(9, 18)),
        floor_mm=float(rng.uniform(-170, -90)) if rng.random() < 0.3 else -1e3,
        floor_tilt=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.05))),
        texture=int(rng.integers(2**31)),
    )
