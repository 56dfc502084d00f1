"""Carrying things between the fixed scan's own grid and the grid of the registration, and warping once.

All of it goes slab by slab: a scan of 512×512×400 voxels has a field of over a gigabyte, and nothing else should be
held at that size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from regbench.api import Field, Grid, Volume
from regbench.data.cohorts.preprocess import resample_labels, resample_scan
from regbench.registration.grid import same_directions
from regbench.spatial import faded, jacobian_determinant, resample, resample_displacement
from regbench.spatial.precision import HAIR
from regbench.spatial.warping import Mode, interpolate

_SLAB_VOXELS = 2**20


def scan_onto(scan: Float[np.ndarray, "i j k"], source: Grid, target: Grid) -> Float[np.ndarray, "a b c"]:
    """A scan on any other grid, without aliasing where that is coarser; zero outside the scan.

    Grids of the same directions: as a protocol's preprocessing does it. Else the scan is first brought to the target's
    spacing over √2 along its own axes, wherever it is finer than that, and then resampled through the affines: two
    triangles of that width blur as much as the one of the target's spacing that the preprocessing takes.
    """
    if same_directions(source, target):
        return resample_scan(scan, source, target)
    spacing = np.maximum(np.array(source.spacing_mm), np.array(target.spacing_mm) / np.sqrt(2))
    shape = [max(1, int(np.ceil(n))) for n in np.array(source.shape) * np.array(source.spacing_mm) / spacing]
    between = _around_centre(source, shape, spacing)
    blurred = torch.from_numpy(resample_scan(scan, source, between))
    return np.ascontiguousarray(resample(blurred, between, target).numpy())


def labels_onto(labels: Volume, lies: Grid, target: Grid) -> Volume:
    """A label map on any other grid by the nearest voxel; zero outside.

    Args:
        labels: the map.
        lies: where it is taken to lie.
        target: where it is wanted.
    """
    if same_directions(lies, target):
        return Volume(torch.from_numpy(resample_labels(labels.data.numpy(), lies, target)), target)
    return Volume(resample(labels.data, lies, target, "nearest"), target)


def numbers_in(labels: Volume) -> list[int]:
    """The label numbers in a map, background (0) not counted."""
    counts = np.bincount(labels.data.cpu().numpy().ravel(), minlength=1)
    return [int(number) for number in np.flatnonzero(counts) if number]


def _around_centre(source: Grid, shape: list[int], spacing: Float[np.ndarray, " 3"]) -> Grid:
    affine = source.affine.copy()
    affine[:3, :3] = source.affine[:3, :3] / np.array(source.spacing_mm) * spacing
    middle = source.affine[:3, :3] @ ((np.array(source.shape) - 1) / 2)
    affine[:3, 3] += middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    i, j, k = shape
    return Grid((i, j, k), affine)


def field_onto(field: Field, target: Grid, shift_mm: Float[np.ndarray, " 3"]) -> Field:
    """A displacement on another grid, made to point to where the moving scan really lies.

    Args:
        field: on the grid of the registration.
        target: the fixed scan's own.
        shift_mm: by which the moving scan was brought nearer before it was registered.
    """
    nearer, field = still(target, shift_mm).displacement, faded(field, target)
    whole = torch.empty(3, *target.shape)
    for planes, slab in slabs(target):
        whole[:, planes] = resample_displacement(field, slab).displacement + nearer[:, planes]
    return Field(whole, target)


def still(target: Grid, shift_mm: Float[np.ndarray, " 3"]) -> Field:
    """The field of no registration, which takes no memory: back to where the moving scan really lies.

    Args:
        target: the fixed scan's grid.
        shift_mm: by which the moving scan was brought nearer.
    """
    constant = torch.from_numpy(-np.linalg.solve(target.affine[:3, :3], shift_mm)).float()
    return Field(constant.view(3, 1, 1, 1).expand(3, *target.shape), target)


@dataclass(frozen=True, eq=False)
class Pulled:
    """What is to be warped.

    Attributes:
        data: (i, j, k) on the moving grid.
        mode: "linear", or "nearest", which keeps the type.
        outside: the value of what the data do not show.
    """

    data: Shaped[Tensor, "i j k"]
    mode: Mode
    outside: float = 0.0


def pull(moving: Grid, field: Field, *wanted: Pulled) -> list[Volume]:
    """Volumes of one grid warped onto a field's grid, interpolated once, from their own voxels.

    Their field of view ends half a voxel beyond the outermost voxel centres.

    Args:
        moving: where they lie, anywhere in the world.
        field: leads from its grid to points of the world.
        wanted: which ones.
    """
    warped = [torch.empty(field.grid.shape, dtype=each.data.dtype) for each in wanted]
    to_moving = np.linalg.inv(moving.affine) @ field.grid.affine
    far = torch.tensor(moving.shape, dtype=torch.float64).view(3, 1, 1, 1) - 1
    for planes, _ in slabs(field.grid):
        points = _carried(to_moving, field.displacement[:, planes], planes.start)
        unseen = ((points < -0.5 - HAIR) | (points > far + (0.5 + HAIR))).any(0)
        points = torch.minimum(points.clamp_(min=0), far, out=points)
        for each, whole in zip(wanted, warped, strict=True):
            whole[planes] = _values(each.data, points, each.mode).masked_fill_(unseen, each.outside)
    return [Volume(whole, field.grid) for whole in warped]


def _carried(to_moving: Float[np.ndarray, "4 4"], u: Float[Tensor, "3 i j k"], start: int) -> Float[Tensor, "3 i j k"]:
    """The moving grid's voxel indices of x + u(x), in float64."""
    points = torch.empty(u.shape, dtype=torch.float64)
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in u.shape[1:])
    for row, (a, b, c, origin) in zip(points, to_moving[:3].tolist(), strict=True):
        torch.add(((i + start) * a + origin)[:, None, None] + (j * b)[:, None], k * c, out=row)
        row.add_(u[0], alpha=a).add_(u[1], alpha=b).add_(u[2], alpha=c)
    return points


def _values(data: Shaped[Tensor, "i j k"], points: Float[Tensor, "3 x y z"], mode: Mode) -> Shaped[Tensor, "x y z"]:
    if mode == "nearest":  # the hair decides ties upwards, whatever rounding says
        i, j, k = ((point + (0.5 + HAIR)).long().clamp_(max=n - 1) for point, n in zip(points, data.shape, strict=True))
        return data.flatten().take((i * data.shape[1] + j) * data.shape[2] + k)
    return interpolate(data[None, None], points[None].to(data.dtype), relative=False)[0, 0]


def jacobian_map(field: Field) -> Volume:
    """det(I + ∇u) at every voxel: by central differences, at the rim by the difference to the neighbour inside."""
    u = field.displacement
    whole = torch.empty(field.grid.shape)
    last = field.grid.shape[0]
    for planes, _ in slabs(field.grid):
        first, stop = max(planes.start - 1, 0), min(planes.stop + 1, last)
        part = _extended(_extended(u[:, first:stop], 2), 3)
        part = _extended(part, 1, before=planes.start == 0, after=planes.stop == last)
        whole[planes] = jacobian_determinant(torch.nn.functional.pad(part, (1,) * 6))
    return Volume(whole, field.grid)


def _extended(u: Tensor, axis: int, *, before: bool = True, after: bool = True) -> Tensor:
    """A field with a voxel more at the ends of an axis, going on as it ends there."""
    n = u.shape[axis]
    first, second = u.narrow(axis, 0, 1), u.narrow(axis, min(1, n - 1), 1)
    last, before_last = u.narrow(axis, n - 1, 1), u.narrow(axis, max(0, n - 2), 1)
    parts = [2 * first - second] * before + [u] + [2 * last - before_last] * after
    return torch.cat(parts, axis)


def slabs(grid: Grid) -> Iterator[tuple[slice, Grid]]:
    """A grid in slabs of planes along i: which planes, and the grid of them."""
    _, j, k = grid.shape
    thickness = max(1, _SLAB_VOXELS // (j * k))
    for start in range(0, grid.shape[0], thickness):
        stop = min(start + thickness, grid.shape[0])
        affine = grid.affine.copy()
        affine[:3, 3] += start * affine[:3, 0]
        yield slice(start, stop), Grid((stop - start, j, k), affine)
