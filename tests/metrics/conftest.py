"""Label maps to score, and the plain way to measure surfaces, written as its definition reads."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import ndimage

from regbench.metrics.surfaces.area import surface_areas

LabelMaps = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def blobs() -> LabelMaps:
    """A maker of label maps with smooth, touching structures, some at the border."""

    def make(seed: int, shape: Sequence[int] = (20, 17, 23), labels: int = 4) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal(tuple(shape))
        smooth = ndimage.gaussian_filter(noise, 2.5)
        limits = np.quantile(smooth, np.linspace(0.4, 1, labels + 1)[:-1])
        return (smooth[..., None] > limits).sum(-1).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def plain_distances() -> Callable[[np.ndarray, np.ndarray, Sequence[float]], list[tuple[np.ndarray, np.ndarray]]]:
    """Distances and areas of both directions on whole volumes: correlation, table, distance transform, sort."""
    kernel = 2 ** np.arange(7, -1, -1).reshape(2, 2, 2)

    def measure(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]]:
        codes = [ndimage.correlate(np.pad(mask, 1).astype(int), kernel, mode="constant") for mask in (one, other)]
        elements = [(code > 0) & (code < 255) for code in codes]
        directions = []
        for here, there in ((0, 1), (1, 0)):
            transform = ndimage.distance_transform_edt(~elements[there], sampling=spacing)
            distances = transform[elements[here]]
            areas = surface_areas(spacing)[codes[here][elements[here]]]
            order = np.lexsort((areas, distances))
            directions.append((distances[order], areas[order]))
        return directions

    return measure


@pytest.fixture(scope="session")
def plain_hd95(plain_distances: Callable[..., list[tuple[np.ndarray, np.ndarray]]]) -> Callable[..., float]:
    """The robust Hausdorff distance from these."""

    def measure(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> float:
        found = []
        for distances, areas in plain_distances(one, other, spacing):
            rank = np.searchsorted(np.cumsum(areas) / np.sum(areas), 0.95)
            found.append(float(distances[min(rank, len(distances) - 1)]))
        return max(found)

    return measure
