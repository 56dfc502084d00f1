"""Randomness of the phantoms: one stream a purpose, so that case n never depends on how many cases there are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter, map_coordinates

from regbench_tasks.phantom.shapes import Points, Values, single
from regbench_tasks.phantom.spline import ControlGrid, SplineMap

SQUARINGS = 6
LEAST_DETERMINANT = 0.1


def stream(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone (version, cohort seed, case, purpose)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sigma: float | Sequence[float] | np.ndarray
) -> Float32[np.ndarray, "i j k"]:
    """Gaussian noise of standard deviation 1, smoothed by `sigma` voxels."""
    widths = np.broadcast_to(np.asarray(sigma, dtype=np.float64), 3)
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), widths, mode="wrap", truncate=3.0)
    # white noise under a Gaussian of width s keeps the share 1 / (2 s √π) of its variance along each axis
    kept = np.prod([1 / (2 * s * np.sqrt(np.pi)) if s > 0.4 else 1.0 for s in widths])
    return single(noise / np.float32(np.sqrt(kept)))


class Waves:
    """A smooth random function of position: a few plane waves, cheap at any point.

    Args:
        rng: draws directions and phases.
        wavelength_mm: of the waves, each within a quarter of it.
        count: number of waves.
    """

    def __init__(self, rng: np.random.Generator, wavelength_mm: float, count: int = 6) -> None:
        directions = rng.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = wavelength_mm * rng.uniform(0.75, 1.25, (count, 1))
        self._vectors = single(2 * np.pi * directions / lengths)
        self._phases = single(rng.uniform(0, 2 * np.pi, count))

    def __call__(self, points: Points) -> Values:
        """Values of about unit variance."""
        x, y, z = points
        waves = (np.sin(x * a + y * b + z * c + p) for (a, b, c), p in zip(self._vectors, self._phases, strict=True))
        return single(sum(waves) * np.float32(np.sqrt(2 / len(self._phases))))


def flow(velocity: Float32[np.ndarray, "3 i j k"], control: ControlGrid) -> SplineMap:
    """The map reached after unit time along a stationary velocity field (mm), by scaling and squaring.

    The velocity is reduced by a tenth as often as it takes until the map's determinant stays above a floor, so that
    no map folds.
    """
    while True:
        result = SplineMap(control, _exponential(velocity, control))
        if result.least_determinant() > LEAST_DETERMINANT:
            return result
        velocity = single(velocity * np.float32(0.9))


def _exponential(velocity: Float32[np.ndarray, "3 i j k"], control: ControlGrid) -> Float32[np.ndarray, "3 i j k"]:
    step = np.array(control.step_mm, dtype=np.float32)[:, None, None, None]
    index = single(np.stack(np.meshgrid(*map(np.arange, control.shape), indexing="ij")))
    d = single(velocity / step / np.float32(2**SQUARINGS))
    for _ in range(SQUARINGS):
        d = d + np.stack([map_coordinates(c, index + d, order=1, mode="nearest") for c in d])
    return single(d * step)
