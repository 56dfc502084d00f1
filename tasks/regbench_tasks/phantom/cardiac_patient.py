"""One patient's heart at end-diastole: sizes by diagnosis, and the ventricles' surfaces around the long axis.

The heart's own frame has its origin on the left ventricle's long axis, +z from the apex to the base; angles turn from
+x (the patient's right) to +y (front). Surfaces are radii r(angle, z), in millimetres.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from regbench_tasks.phantom.random_fields import stream
from regbench_tasks.phantom.shapes import Points, Triple, Values, rotation, single, turned

VERSION = 1
"""Goes up with every change that changes a voxel."""

BOX_MM = (192.0, 192.0, 100.8)
HEART, MOTION, LOOK, NOISE, GROUPS = 1, 2, 3, 4, 6
RV_WALL_MM = 3.5


@dataclass(frozen=True)
class Diagnosis:
    """Typical values; each patient lies some percent off.

    Attributes:
        radius: inner radius of the left ventricle where it is widest, mm.
        wall: its wall's thickness, mm.
        septum: what is added to the wall of the septum, mm.
        width: the right ventricle's width from septum to free wall, mm.
        ejection: share of the left ventricle's volume that is ejected.
        shortening: share of the long axis's length that is lost in systole.
        right_narrowing: share of the right ventricle's width that is lost.
        scar: by how much a scar stops the wall's motion, 0 to 1.
    """

    radius: float
    wall: float
    septum: float
    width: float
    ejection: float
    shortening: float
    right_narrowing: float
    scar: float = 0.0


DIAGNOSES = {
    "NOR": Diagnosis(24.5, 9.0, 0.5, 33.0, 0.67, 0.18, 0.42),
    "MINF": Diagnosis(26.5, 8.5, 0.0, 31.0, 0.57, 0.15, 0.38, scar=0.8),
    "DCM": Diagnosis(32.0, 7.5, 0.0, 31.0, 0.42, 0.115, 0.32),
    "HCM": Diagnosis(22.0, 11.5, 4.5, 29.0, 0.70, 0.16, 0.42),
    "RV": Diagnosis(22.5, 8.5, 0.5, 45.0, 0.64, 0.16, 0.34),
}


@dataclass(frozen=True)
class Heart:
    """One heart at end-diastole; lengths in mm, angles in radians.

    Attributes:
        group: the diagnosis.
        centre: the frame's origin in the scan.
        axes: (3, 3) the frame's axes as columns.
        typical: the diagnosis's values, varied.
        apex: z of the inner apex.
        base: z of the plane of the valves.
        widest: z where the left ventricle is widest.
        right_angle: direction from the left to the right ventricle.
        right_apex: z of the right ventricle's tip.
        oval: amplitudes of the second and third harmonic of the left ventricle's radius.
        oval_phase: their phases.
        scar_angle: where a scar is.
        twist: turn of the apex against the base in systole.
        swing: how far the heart as a whole moves across its axis in systole, mm.
    """

    group: str
    centre: Triple
    axes: np.ndarray
    typical: Diagnosis
    apex: float
    base: float
    widest: float
    right_angle: float
    right_apex: float
    oval: tuple[float, float]
    oval_phase: tuple[float, float]
    scar_angle: float
    twist: float
    swing: tuple[float, float]

    def local(self, points: Points) -> Points:
        """Points of the end-diastolic scan in the heart's frame."""
        x, y, z = turned(points, self.centre, self.axes)
        return x, y, z

    def endocardium(self, angle: Values, z: Values) -> Values:
        """Inner radius of the left ventricle."""
        shape = 1 + sum(
            np.float32(a) * np.cos(m * angle - np.float32(p))
            for m, a, p in zip((2, 3), self.oval, self.oval_phase, strict=True)
        )
        return single(self.typical.radius * shape * self._profile(z, self.widest - self.apex))

    def wall(self, angle: Values, z: Values) -> Values:
        """Thickness of the left ventricle's wall: thicker at the septum as the diagnosis has it, thinner in a scar."""
        septal = 0.5 + 0.5 * np.cos(angle - np.float32(self.right_angle))
        scarred = 1 - 0.3 * self.scar(angle, z)
        return single((self.typical.wall + self.typical.septum * septal * septal) * scarred)

    def epicardium(self, angle: Values, z: Values) -> Values:
        """Outer radius of the left ventricle; the wall at the apex is half as thick."""
        height = self.widest - self.apex
        outer = self._profile(z, height + 0.6 * self.typical.wall)
        thickness = self.wall(angle, z)
        inner = self.typical.radius * (self.endocardium(angle, np.full_like(z, self.widest)) / self.typical.radius)
        return single((inner + thickness) * outer)

    def right_wall(self, angle: Values, z: Values) -> Values:
        """Radius of the inside of the right ventricle's free wall; the epicardium where there is no right ventricle."""
        upwards = np.clip((z - self.right_apex) / (self.base - self.right_apex), 0, 1.2)
        half_angle = 0.75 + 0.62 * np.sqrt(upwards)
        # towards the base the right ventricle reaches round the front to its outflow
        offset = _wrapped(angle - np.float32(self.right_angle) - 0.32 * np.maximum(upwards - 0.45, 0))
        across = np.maximum(np.cos(0.5 * np.pi * np.clip(offset / half_angle, -1, 1)), 0) ** 0.75
        along = np.sqrt(np.clip(1 - (1 - np.minimum(upwards / 0.75, 1)) ** 2, 0, 1))
        return single(self.epicardium(angle, z) + self.typical.width * across * along)

    def scar(self, angle: Values, z: Values) -> Values:
        """How much the wall is scarred, 0 to 1."""
        offset = _wrapped(angle - np.float32(self.scar_angle))
        height = (z - (self.base + self.apex) / 2 + 12) / 26
        return single(self.typical.scar * np.exp(-((offset / 0.8) ** 2) - height * height))

    def _profile(self, z: Values, height: float) -> Values:
        below = (z - self.widest) / np.float32(height)
        above = (z - self.widest) / np.float32(2.6 * height)
        t = np.where(below < 0, below, above)
        return single(np.sqrt(np.maximum(1 - t * t, np.float32(0))))


def _wrapped(angle: Values) -> Values:
    turn = np.float32(2 * np.pi)
    return single(angle - turn * np.round(angle / turn))


def diagnosis(seed: int, case: int) -> str:
    """A patient's diagnosis; of five patients in a row (1–5, 6–10, …) each has another."""
    block, place = divmod(case - 1, len(DIAGNOSES))
    order = stream(VERSION, seed, block, GROUPS).permutation(len(DIAGNOSES))
    return list(DIAGNOSES)[int(order[place])]


@cache
def heart(seed: int, case: int) -> Heart:
    """A patient's heart."""
    rng = stream(VERSION, seed, case, HEART)
    group = diagnosis(seed, case)
    factors = np.clip(rng.normal(1, 0.07, 7), 0.85, 1.15).tolist()
    d = DIAGNOSES[group]
    typical = Diagnosis(
        d.radius * factors[0],
        d.wall * factors[1],
        d.septum * factors[2],
        d.width * factors[3],
        d.ejection * factors[4],
        d.shortening * factors[5],
        d.right_narrowing * factors[6],
        d.scar,
    )
    length = float(rng.normal(72, 4)) + 0.35 * (typical.radius - 24)
    base = float(rng.normal(33, 2))
    x, y = rng.normal((-14, 2), (5, 5)).tolist()
    return Heart(
        group=group,
        centre=(x, y, 0.0),
        axes=rotation((float(rng.normal(0, 4)), float(rng.normal(0, 4)), 0.0)),
        typical=typical,
        apex=base - length,
        base=base,
        widest=base - 0.22 * length,
        right_angle=float(rng.normal(0.30, 0.14)),
        right_apex=base - length * float(rng.uniform(0.78, 0.92)),
        oval=(float(rng.uniform(0, 0.06)), float(rng.uniform(0, 0.03))),
        oval_phase=(float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
        scar_angle=float(rng.uniform(0, 6.28)),
        twist=float(rng.normal(0.2, 0.04)) * (typical.ejection / 0.6),
        swing=(float(rng.normal(2.0, 1.2)), float(rng.normal(3.0, 1.2))),
    )
