"""Solids given by signed distances, from which the anatomy is put together.

A solid's function is negative inside and, near the surface, about the distance in millimetres (exact for tubes, to
first order for ellipsoids), so that a voxel's partial volume can be read from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float32, Shaped

Values = Float32[np.ndarray, "..."]
Points = tuple[Values, Values, Values]
Distance = Callable[[Points], Values]
Number = int | float
Triple = tuple[Number, Number, Number]

EVERYWHERE = 1e6


def single(values: Shaped[np.ndarray, "..."]) -> Values:
    """Values in single precision."""
    result: Values = np.asarray(values, dtype=np.float32)
    return result


@dataclass(frozen=True)
class Solid:
    """A region of space.

    Attributes:
        distance: (x, y, z) in mm → signed distance in mm, negative inside.
        low: the corner of a box that holds the inside, in mm.
        high: the opposite corner.
    """

    distance: Distance
    low: Triple = (-EVERYWHERE,) * 3
    high: Triple = (EVERYWHERE,) * 3

    def __call__(self, points: Points) -> Values:
        """Signed distances of points."""
        return self.distance(points)


def ellipsoid(centre: Triple, radii: Triple, turn_deg: Triple = (0.0, 0.0, 0.0)) -> Solid:
    """An ellipsoid, turned about its own x, then y, then z axis.

    The distance is |p|ₑ (|p|ₑ − 1) / |p/r²| with |p|ₑ = |p/r|: exact on the surface with a unit gradient there.
    """
    axes = rotation(turn_deg)
    r = np.asarray(radii)
    reach = np.sqrt(((axes * r) ** 2).sum(1))

    def distance(points: Points) -> Values:
        local = turned(points, centre, axes)
        scaled = [q / np.float32(s) for q, s in zip(local, r, strict=True)]
        norm = np.sqrt(sum(q * q for q in scaled))
        slope = np.sqrt(sum((q / np.float32(s)) ** 2 for q, s in zip(scaled, r, strict=True)))
        return single(norm * (norm - np.float32(1)) / np.maximum(slope, np.float32(1e-6)))

    return Solid(distance, _triple(np.asarray(centre) - reach), _triple(np.asarray(centre) + reach))


def tube(path: Sequence[Triple], radii: Sequence[Number], *, steps: int = 4, squash: Triple = (1.0, 1.0, 1.0)) -> Solid:
    """A tube with round ends along a smooth curve through `path`.

    Args:
        path: points in mm.
        radii: in mm, one a point.
        steps: straight pieces between two points of the path.
        squash: the space is stretched by this before the distance is taken: a factor of 2 halves the thickness.
    """
    curve = smooth_curve(np.column_stack([path, radii]), steps)
    stretch = np.asarray(squash)
    nodes = single(curve[:, :3] * stretch)
    widths = curve[:, 3].tolist()
    thinnest = np.float32(1 / stretch.max())

    def distance(points: Points) -> Values:
        p = [q * np.float32(s) for q, s in zip(points, stretch, strict=True)]
        pieces = zip(nodes[:-1], nodes[1:], widths[:-1], widths[1:], strict=True)
        return single(reduce(np.minimum, (_cone(p, *piece) for piece in pieces)) * thinnest)

    margin = curve[:, 3:] / stretch
    return Solid(distance, _triple((curve[:, :3] - margin).min(0)), _triple((curve[:, :3] + margin).max(0)))


def _cone(
    p: Sequence[Values], start: Float32[np.ndarray, "3"], end: Float32[np.ndarray, "3"], first: float, last: float
) -> Values:
    (x, y, z), (a, b, c) = (q - s for q, s in zip(p, start, strict=True)), end - start
    along = x * a
    along += y * b
    along += z * c
    along /= np.maximum(a * a + b * b + c * c, np.float32(1e-6))
    np.clip(along, 0, 1, out=along)
    x -= along * a
    y -= along * b
    z -= along * c
    x *= x
    y *= y
    z *= z
    x += y
    x += z
    np.sqrt(x, out=x)
    along *= last - first
    x -= along
    x -= first
    return single(x)


def union(*solids: Solid, blend: Number = 0.0) -> Solid:
    """What is in any of the solids; `blend` mm rounds the inner edges."""

    def distance(points: Points) -> Values:
        return reduce(lambda a, b: smooth_min(a, b, blend), (s(points) for s in solids))

    low = np.min([s.low for s in solids], axis=0) - blend
    return Solid(distance, _triple(low), _triple(np.max([s.high for s in solids], axis=0) + blend))


def common(*solids: Solid, blend: Number = 0.0) -> Solid:
    """What is in all of the solids; `blend` mm rounds the edges."""

    def distance(points: Points) -> Values:
        return reduce(lambda a, b: -smooth_min(-a, -b, blend), (s(points) for s in solids))

    return Solid(
        distance, _triple(np.max([s.low for s in solids], axis=0)), _triple(np.min([s.high for s in solids], axis=0))
    )


def without(solid: Solid, *others: Solid, gap: Number = 0.0, blend: Number = 0.0) -> Solid:
    """The solid where it is at least `gap` mm from each of the others."""

    def distance(points: Points) -> Values:
        holes = (np.float32(gap) - other(points) for other in others)
        return reduce(lambda a, b: -smooth_min(-a, -b, blend), holes, solid(points))

    return Solid(distance, solid.low, solid.high)


def boxed(solid: Solid, low: Triple, high: Triple) -> Solid:
    """The solid with a tighter box, which must hold all of it."""
    return Solid(solid.distance, low, high)


def grown(solid: Solid, margin: Number) -> Solid:
    """The solid with its surface moved outwards by `margin` mm (inwards if negative)."""

    def distance(points: Points) -> Values:
        return solid(points) - np.float32(margin)

    outwards = max(margin, 0.0)
    return Solid(distance, _triple(np.asarray(solid.low) - outwards), _triple(np.asarray(solid.high) + outwards))


def smooth_min(a: Values, b: Values, blend: Number) -> Values:
    """The lower of two, with the kink between them rounded over `blend`."""
    if blend <= 0:
        return single(np.minimum(a, b))
    rounding = np.maximum(np.float32(1) - np.abs(a - b) / np.float32(blend), 0)
    return single(np.minimum(a, b) - rounding * rounding * (blend / 4))


def smooth_curve(nodes: np.ndarray, steps: int) -> np.ndarray:
    """The Catmull-Rom curve through the rows of `nodes`, with `steps` pieces between two of them."""
    padded = np.concatenate([2 * nodes[:1] - nodes[1:2], nodes, 2 * nodes[-1:] - nodes[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.concatenate([*pieces, nodes[-1:]])


def rotation(turn_deg: Triple) -> np.ndarray:
    """(3, 3) rotation about x, then y, then z by angles in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned_axes: np.ndarray = about_z @ about_y @ about_x
    return turned_axes


def turned(points: Points, centre: Triple, axes: np.ndarray) -> list[Values]:
    """Coordinates of the points along the columns of `axes`, from `centre`."""
    offset = [p - np.float32(c) for p, c in zip(points, centre, strict=True)]
    return [
        offset[0] * np.float32(a) + offset[1] * np.float32(b) + offset[2] * np.float32(c) for a, b, c in axes.T.tolist()
    ]


def mirrored(solid: Solid) -> Solid:
    """The solid on the other side of the plane x = 0."""

    def distance(points: Points) -> Values:
        return solid((-points[0], points[1], points[2]))

    return Solid(distance, (-solid.high[0], *solid.low[1:]), (-solid.low[0], *solid.high[1:]))


def _triple(values: np.ndarray) -> Triple:
    x, y, z = np.asarray(values, dtype=np.float64).tolist()
    return x, y, z
