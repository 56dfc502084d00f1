"""From a scan as it was stored to the protocol's grid and intensities.

The order is fixed: intensities first, on the scan's own grid; then resampling, axis by axis, since both grid rules of a
protocol keep the scan's directions. What is computed here is part of the cache's key: raise VERSION with any change
that could change a voxel.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, UInt8

from regbench.api import Grid, Percentiles, Window

VERSION = 1

_DIGITS = 6  # of a position in voxels; beyond them is rounding, which must not decide a tie


def to_unit(scan: Float[np.ndarray, "i j k"], rule: Window | Percentiles) -> Float[np.ndarray, "i j k"]:
    """Intensities clipped to the rule's two limits, then scaled to [0, 1]; all 0 where the limits coincide.

    Percentiles are of all voxels of the scan, with linear interpolation between neighbours.
    """
    if isinstance(rule, Window):
        low, high = rule.low, rule.high
    else:
        low, high = np.percentile(scan, (rule.low, rule.high)).tolist()
    if not high > low:
        return np.zeros_like(scan)
    unit: npt.NDArray[np.float32] = (np.clip(scan, low, high) - np.float32(low)) * np.float32(1 / (high - low))
    np.clip(unit, 0, 1, out=unit)
    return unit


def only_labels(labels: UInt8[np.ndarray, "i j k"], wanted: Collection[int]) -> UInt8[np.ndarray, "i j k"]:
    """A label map in which every other label is background."""
    table = np.zeros(256, np.uint8)
    table[list(wanted)] = list(wanted)
    kept: UInt8[np.ndarray, "i j k"] = table[labels]
    return kept


def resample_scan(scan: Float[np.ndarray, "i j k"], source: Grid, target: Grid) -> Float[np.ndarray, "a b c"]:
    """A scan on another grid of the same directions: linear interpolation, not aliasing, zero outside the scan.

    Along each axis a target voxel is a weighted mean of the scan's voxels within w voxels of its centre, with weights
    1 − distance / w and w = max(1, target spacing / source spacing): plain linear interpolation where the target is
    finer, the same triangle widened where it is coarser. The weights are normalised over the voxels of the scan; a
    target voxel whose centre lies outside the scan's outermost voxel edges is zero.
    """
    weights = [_weights(positions, n) for positions, n in zip(_positions(source, target), source.shape, strict=True)]
    scan = _along(weights[0], scan.reshape(source.shape[0], -1)).reshape(-1, *source.shape[1:])
    scan = _along(weights[1], scan)
    return np.ascontiguousarray(_along(weights[2], scan.swapaxes(1, 2)).swapaxes(1, 2))


def resample_labels(labels: UInt8[np.ndarray, "i j k"], source: Grid, target: Grid) -> UInt8[np.ndarray, "a b c"]:
    """A label map on another grid of the same directions: nearest neighbour, a tie to the higher index, zero outside.

    Nearest neighbour keeps the volume of every organ on average, however thin; a majority vote over the voxels that a
    coarse target voxel covers would lose the thin ones.
    """
    for axis, positions in enumerate(_positions(source, target)):
        count = source.shape[axis]
        nearest = np.floor(positions + 0.5).astype(np.int64)
        inside = _inside(positions, count)
        labels = np.take(labels, np.clip(nearest, 0, count - 1), axis=axis)
        if not inside.all():
            outside: list[slice | npt.NDArray[np.bool_]] = [slice(None)] * 3
            outside[axis] = ~inside
            labels[tuple(outside)] = 0
    return np.ascontiguousarray(labels)


def _positions(source: Grid, target: Grid) -> list[npt.NDArray[np.float64]]:
    """Where the target's voxel centres lie along each axis of the source, in its voxels."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    scale = np.diag(matrix)[:3]
    if np.abs(matrix[:3, :3] - np.diag(scale)).max() * max(target.shape) > 1e-3:
        raise ValueError("The grids have different directions; expected a target made by a protocol's grid rule.")
    return [np.round(scale[axis] * np.arange(target.shape[axis]) + matrix[axis, 3], _DIGITS) for axis in range(3)]


def _along(weights: npt.NDArray[np.float32], scan: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Weighted means along the last axis but one; the same array where each voxel only takes itself."""
    if weights.shape[0] == weights.shape[1] and np.array_equal(weights, np.eye(len(weights))):
        return scan
    means: npt.NDArray[np.float32] = weights @ scan
    return means


def _inside(positions: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    return (positions >= -0.5) & (positions <= count - 0.5)


def _weights(positions: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float32]:
    """(targets, sources) of one axis."""
    width = max(1.0, float(positions[1] - positions[0])) if len(positions) > 1 else 1.0
    weights = np.maximum(0.0, 1 - np.abs(np.arange(count)[None, :] - positions[:, None]) / width)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-12)
    weights[~_inside(positions, count)] = 0
    return weights.astype(np.float32)
