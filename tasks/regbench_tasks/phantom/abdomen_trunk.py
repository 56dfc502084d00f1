"""The trunk that holds the organs: outline, wall, diaphragm, skeleton, muscles. Millimetres; +x right, +y front, +z up.

The transpyloric plane (first lumbar vertebra) lies at z = 95, the iliac crests at z = −10.
"""

from functools import partial, reduce

import numpy as np

from regbench_tasks.phantom.shapes import (
    EVERYWHERE,
    Number,
    Points,
    Solid,
    Triple,
    Values,
    common,
    ellipsoid,
    grown,
    mirrored,
    single,
    smooth_min,
    tube,
    union,
    without,
)

WALL_MM = 11.0
DISC_LEVELS = (-69.0, -33.0, 3.5, 40.5, 77.0, 111.5, 142.0, 170.5, 198.0, 224.5, 250.0, 275.0)
"""Heights of the discs from L5/S1 upwards."""


def _bump(value: Values, centre: Number, width: Number) -> Values:
    return single(np.exp(-(((value - centre) / width) ** 2)))


def _skin(points: Points) -> Values:
    x, y, z = points
    half_width = 152 + 14 * _bump(z, -150, 80) + 4 * _bump(z, 200, 90)
    half_depth = 110 + 4 * _bump(z, -140, 70) + 3 * _bump(z, 130, 80)
    y = y - np.float32(2)
    u, v = np.abs(x) / half_width, np.abs(y) / half_depth
    # flatter than an ellipse in front and behind: exponent 2.5
    norm = (u * u * np.sqrt(u) + v * v * np.sqrt(v)) ** np.float32(0.4)
    reach = np.sqrt(x * x + y * y)
    spinal_furrow = 7 * np.exp(-((x / 14) ** 2)) * (y < 0)
    return single(reach - reach / np.maximum(norm, np.float32(1e-3)) + spinal_furrow)


def _inner_fat(points: Points) -> Values:
    _, y, z = points
    thickness = 11 + 9 * _bump(y, -60, 70) * _bump(z, -90, 120) + 5 * _bump(y, 110, 50) * _bump(z, -60, 80)
    return single(_skin(points) + thickness)


def dome_height(x: Values, y: Values) -> Values:
    """Height of the diaphragm's under side."""
    right = 84 * _bump(x, 68, 64) * _bump(y, 14, 78)
    left = 76 * _bump(x, -72, 58) * _bump(y, 8, 72)
    middle = 46 * _bump(x, 0, 48) * _bump(y, 40, 50)
    return single(122 + right + left + middle)


def _below_dome(points: Points) -> Values:
    x, y, z = points
    return single((z - dome_height(x, y)) * np.float32(0.75))


SKIN = Solid(_skin)
WALL = Solid(_inner_fat)
CAVITY = grown(WALL, -WALL_MM)
UNDER_DIAPHRAGM = common(CAVITY, Solid(_below_dome))


def _lung(points: Points) -> Values:
    return single(np.maximum(CAVITY(points), 4 - _below_dome(points)))


LUNGS = Solid(_lung, low=(-EVERYWHERE, -EVERYWHERE, 100.0))
HEART = union(ellipsoid((-18, 38, 236), (58, 44, 42), (0, 15, -25)), ellipsoid((22, 30, 240), (30, 34, 44)), blend=14)


def _spine_centre(z: Values) -> Values:
    """Y of the middle of the vertebral bodies: lordosis of the loins, kyphosis above and of the sacrum."""
    return single(-42 + 9 * np.cos((z - 15) / 88) - 6 * _bump(z, 250, 70))


def _disc_nearness(z: Values) -> Values:
    return reduce(np.minimum, (single(np.abs(z - level)) for level in DISC_LEVELS))


def _vertebrae(points: Points) -> Values:
    x, y, z = points
    from_disc = _disc_nearness(z)
    waist = 2.2 * np.minimum(from_disc / 14, 1)
    size = single(24.5 - 0.022 * (z + 60)) - waist
    v = (y - _spine_centre(z)) / np.float32(0.74)
    body = np.sqrt(x * x + v * v) - size
    return single(np.maximum(body * np.float32(0.85), np.float32(-66) - z))


def _neural_arch(points: Points) -> Values:
    x, y, z = points
    y = y - _spine_centre(z)
    phase = _disc_nearness(z - np.float32(8))
    side = np.abs(x)
    spinous = np.maximum(np.maximum(side - 3.2, np.abs(y + 48) - 16), 9 - phase)
    lamina = np.maximum(np.sqrt(x * x + (y + 25) ** 2) - 15, 7 - phase)
    transverse = np.maximum(np.maximum(np.abs(y + 27 + 0.15 * side) - 4.5, side - 37), 12 - phase)
    arch = smooth_min(np.minimum(spinous, transverse), lamina, 4)
    canal = 9.5 - np.sqrt(x * x + ((y + 25) / 0.85) ** 2)
    return single(np.maximum(np.maximum(arch, canal), np.float32(-75) - z))


_COLUMN_LOW, _COLUMN_HIGH = (-42.0, -125.0, -76.0), (42.0, 2.0, EVERYWHERE)
VERTEBRAE = Solid(_vertebrae, _COLUMN_LOW, _COLUMN_HIGH)
NEURAL_ARCHES = Solid(_neural_arch, _COLUMN_LOW, _COLUMN_HIGH)


def _canal(points: Points) -> Values:
    x, y, z = points
    return single(np.sqrt(x * x + ((y - _spine_centre(z) + 25) / 0.85) ** 2) - 8.5)


CANAL = Solid(_canal, (-12.0, -95.0, -90.0), (12.0, -40.0, EVERYWHERE))


def disc_share(points: Points) -> Values:
    """1 within a disc, 0 within a vertebral body."""
    return single(np.clip((np.float32(5.0) - _disc_nearness(points[2])) / 2, 0, 1))


RIBS = 8
RIB_STEP_MM = 27.0


def _rib_height(angle: Values) -> Values:
    """How far a rib has come down from its vertebra, at an angle (0 behind, π in front)."""
    return single(-92 * np.sin(np.minimum(angle, 1.95) * 0.8) ** 2 + 24 * np.maximum(angle - 1.95, 0))


def _ribs(points: Points) -> Values:
    x, y, z = points
    angle = single(np.arctan2(np.abs(x), -(y + 10)))
    head = z - _rib_height(angle)
    lowest = 122.0
    number = np.clip(np.round((head - lowest) / RIB_STEP_MM), 0, RIBS - 1)
    offset = head - (lowest + number * RIB_STEP_MM)
    depth = WALL(points) + np.float32(6.0)
    # the floating ribs end at the side, the others run on towards the costal margin
    end = np.minimum(1.35 + 0.32 * number, 2.75)
    round_ = np.sqrt((offset / 1.45) ** 2 + depth * depth) - 4.3
    too_far = np.maximum((angle - end) * 90, (0.22 - angle) * 90)
    return single(np.maximum(round_, too_far))


RIB_CAGE = Solid(_ribs, low=(-EVERYWHERE, -EVERYWHERE, 10.0))
STERNUM = Solid(
    lambda p: single(
        np.maximum(np.maximum(np.abs(p[0]) - 17, np.abs(WALL(p) + np.float32(6)) - 5), np.float32(176) - p[2])
    ),
    (-30.0, 60.0, 170.0),
    (30.0, 130.0, EVERYWHERE),
)

_ILIUM = without(
    common(
        ellipsoid((82, -28, -62), (62, 62, 66), (10, 0, 0)),
        Solid(
            lambda p: (p[2] * np.float32(-0.2) - p[1] * np.float32(0.1) + 26 - p[0] * np.float32(0.9)).astype(
                np.float32
            )
        ),
    ),
    ellipsoid((66, -18, -52), (66, 62, 72), (10, 0, 0)),
)
_HIP = union(
    tube([(72, -32, -112), (88, -10, -150)], [13, 17]),
    tube([(70, 10, -165), (38, 36, -192), (8, 44, -200)], [12, 8, 8]),
    tube([(72, -28, -150), (58, -38, -200), (52, -20, -225)], [13, 11, 10]),
    blend=8,
)
_FEMUR = union(
    ellipsoid((94, -2, -172), (24, 24, 24)),
    tube([(94, -2, -172), (124, -12, -196), (128, -10, -225), (122, -6, -280)], [16, 17, 17, 15]),
    blend=8,
)
PELVIS = union(_ILIUM, mirrored(_ILIUM), _HIP, mirrored(_HIP))
FEMORA = union(_FEMUR, mirrored(_FEMUR))
SACRUM = tube(
    [(0, -44, -74), (0, -66, -108), (0, -80, -145), (0, -70, -176)], [30, 26, 16, 6], squash=(0.62, 1.15, 1.0)
)

_PSOAS = tube(
    [(30, -36, 118), (38, -32, 60), (48, -26, 0), (58, -6, -70), (74, 22, -130), (98, 12, -190)],
    [5, 13, 20, 21, 16, 13],
)
_BACK = common(ellipsoid((36, -84, 80), (36, 26, 420)), grown(WALL, 1.5))
_QUADRATUS = tube([(56, -62, 92), (70, -60, 40), (80, -60, -6)], [10, 13, 13], squash=(0.8, 1.3, 1.0))
_ILIACUS = without(
    common(ellipsoid((66, -18, -52), (65, 61, 71), (10, 0, 0)), ellipsoid((100, -22, -62), (46, 60, 60), (10, 0, 0))),
    ellipsoid((56, -8, -44), (62, 56, 68), (10, 0, 0)),
    blend=6,
)
_GLUTEAL = common(ellipsoid((92, -62, -118), (66, 56, 92)), grown(SKIN, -14))
_THIGH = common(ellipsoid((104, 10, -262), (62, 76, 90)), grown(SKIN, -12))
_RECTUS = Solid(
    lambda p: single(np.maximum(np.abs(np.abs(p[0]) - 34) - 30, np.abs(WALL(p) + np.float32(5.0)) - 6.5)),
    (-70.0, 30.0, -EVERYWHERE),
    (70.0, 140.0, 190.0),
)
PAIRED_MUSCLES = tuple(
    muscle for half in (_GLUTEAL, _THIGH, _BACK, _QUADRATUS, _ILIACUS, _PSOAS) for muscle in (half, mirrored(half))
)
MUSCLES = (*PAIRED_MUSCLES, _RECTUS)
CRURA = union(
    tube([(13, -20, 40), (15, -12, 100), (10, 2, 165), (-2, 12, 190)], [4, 6, 6, 4], squash=(1.3, 0.9, 1.0)),
    tube([(-17, -22, 50), (-24, -14, 105), (-24, 0, 165), (-10, 12, 190)], [4, 5, 6, 4], squash=(1.3, 0.9, 1.0)),
)


def plane(normal: Triple, offset: Number) -> Solid:
    """The half space normal · p < offset; `normal` in any length."""
    length = float(np.linalg.norm(normal))
    return Solid(partial(_half_space, _unit(normal), offset / length))


def _unit(vector: Triple) -> Triple:
    x, y, z = (np.asarray(vector) / np.linalg.norm(vector)).tolist()
    return x, y, z


def _half_space(normal: Triple, offset: Number, points: Points) -> Values:
    a, b, c = (np.float32(n) for n in normal)
    x, y, z = points
    return single(x * a + y * b + z * c - np.float32(offset))
