"""All metrics of one pair of 160³ with 13 labels: the Learn2Reg way beside ours, equality first.

The plain formulation is what the Learn2Reg evaluation does: the label map warped by `map_coordinates`, a loop over
labels for Dice, surface distances label by label (given whole volumes, which it cuts to the label's box as the
surface-distance package does), and the Jacobian by nine correlations in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.ratio import peak_bytes, ratio
from regbench.metrics import dsc, hd95, sdlogj
from regbench.metrics.surfaces.area import surface_areas
from regbench.spatial import warp_labels

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 160
LABELS = range(1, 14)
# Centre and half axes of thirteen ellipsoids, in shares of the half volume, as large and as far apart as the organs of
# an abdominal CT that is squeezed to 160³ (350,000 of 4,096,000 voxels).
ORGANS = (
    ((-0.5, -0.1, 0.4), (0.21, 0.27, 0.25)),
    ((0.4, 0.35, -0.1), (0.16, 0.18, 0.29)),
    ((-0.4, 0.35, -0.05), (0.16, 0.18, 0.28)),
    ((0.3, -0.25, 0.1), (0.08, 0.09, 0.13)),
    ((-0.05, 0.2, 0.75), (0.06, 0.06, 0.2)),
    ((0.4, -0.05, 0.35), (0.42, 0.46, 0.36)),
    ((-0.25, -0.35, 0.35), (0.28, 0.26, 0.28)),
    ((-0.02, 0.35, 0.1), (0.07, 0.07, 0.8)),
    ((0.12, 0.3, 0.1), (0.08, 0.07, 0.75)),
    ((0.1, 0.05, 0.15), (0.28, 0.06, 0.1)),
    ((-0.12, -0.02, 0.05), (0.35, 0.1, 0.1)),
    ((0.22, 0.33, 0.28), (0.06, 0.06, 0.06)),
    ((-0.2, 0.33, 0.28), (0.06, 0.06, 0.06)),
)


@dataclass(frozen=True)
class Scores:
    """What both ways give."""

    moved: np.ndarray
    dice: list[float]
    hausdorff: list[float]
    regularity: float


@dataclass(frozen=True)
class PairOfScans:
    """Label maps (i, j, k) and a smooth displacement (3, i, j, k) of up to ten voxels."""

    fixed: np.ndarray
    moving: np.ndarray
    u: np.ndarray


@pytest.fixture(scope="module")
def pair() -> PairOfScans:
    """A pair whose organs overlap in part, as after a registration of middling quality."""
    noise = torch.randn(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    u = torch.nn.functional.interpolate(noise, (SIZE,) * 3, mode="trilinear", align_corners=True)[0].mul(3).numpy()
    smooth = ndimage.gaussian_filter(u, (0, 8, 8, 8))
    return PairOfScans(_organs(0), _organs(1), smooth)


def _organs(case: int) -> np.ndarray:
    random = np.random.default_rng(case)
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, SIZE, dtype=np.float32)] * 3, indexing="ij", sparse=True)
    phase = random.uniform(0, 6, 3)
    ripple = 0.15 * np.sin(20 * i + phase[0]) * np.sin(17 * j + phase[1]) + 0.1 * np.sin(23 * k + phase[2])
    labels = np.zeros((SIZE,) * 3, np.uint8)
    for label, (centre, axes) in enumerate(ORGANS, start=1):
        a, b, c = np.array(centre) + random.uniform(-0.04, 0.04, 3)
        inside = ((i - a) / axes[0]) ** 2 + ((j - b) / axes[1]) ** 2 + ((k - c) / axes[2]) ** 2 + ripple < 1
        labels[inside] = label
    return labels


def plain_warp(pair: PairOfScans) -> np.ndarray:
    """The moving labels at x + u(x), nearest, in float64."""
    identity = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"))
    return ndimage.map_coordinates(pair.moving, identity + pair.u.astype(np.float64), order=0)


def plain_dice(fixed: np.ndarray, moved: np.ndarray) -> list[float]:
    """Label by label."""
    scores = []
    for label in LABELS:
        a, b = fixed == label, moved == label
        scores.append(2 * np.sum(a & b) / (np.sum(a) + np.sum(b)))
    return scores


def plain_hausdorff(fixed: np.ndarray, moved: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> list[float]:
    """Label by label on whole volumes."""
    return [_plain_hausdorff(fixed == label, moved == label, spacing) for label in LABELS]


def _plain_hausdorff(one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]) -> float:
    both = one | other
    box = []
    for axis in range(3):
        seen = np.nonzero(both.max(axis=tuple(a for a in range(3) if a != axis)))[0]
        box.append(slice(seen[0], seen[-1] + 1))
    kernel = 2 ** np.arange(7, -1, -1).reshape(2, 2, 2)
    masks = [np.pad(mask[tuple(box)].astype(np.uint8), [(0, 1)] * 3) for mask in (one, other)]
    codes = [ndimage.correlate(mask, kernel, mode="constant", cval=0) for mask in masks]
    elements = [(code != 0) & (code != 255) for code in codes]
    transforms = [ndimage.distance_transform_edt(~cells, sampling=spacing) for cells in elements]
    table, found = surface_areas(spacing), []
    for here, there in ((0, 1), (1, 0)):
        distances, areas = transforms[there][elements[here]], table[codes[here]][elements[here]]
        distances, areas = np.array(sorted(zip(distances, areas, strict=True))).T
        rank = np.searchsorted(np.cumsum(areas) / np.sum(areas), 0.95)
        found.append(distances[min(rank, len(distances) - 1)])
    return max(found)


def plain_regularity(u: np.ndarray) -> float:
    """SDlogJ of the whole field in float64."""
    field = u.astype(np.float64)
    kernels = [np.array([-0.5, 0, 0.5]).reshape([3 if a == b else 1 for b in range(3)]) for a in range(3)]
    gradient = [[ndimage.correlate(part, kernel, mode="constant", cval=0) for kernel in kernels] for part in field]
    (a, b, c), (d, e, f), (g, h, i) = (np.stack(gradient) + np.eye(3).reshape(3, 3, 1, 1, 1))[:, :, 2:-2, 2:-2, 2:-2]
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return float(np.log(np.clip(determinant + 3, 1e-9, 1e9)).std())


def plain_scores(pair: PairOfScans) -> Scores:
    """Everything the Learn2Reg way."""
    moved = plain_warp(pair)
    return Scores(moved, plain_dice(pair.fixed, moved), plain_hausdorff(pair.fixed, moved), plain_regularity(pair.u))


def fast_scores(pair: PairOfScans) -> Scores:
    """Everything with regbench's functions."""
    u = torch.from_numpy(pair.u)
    moved = warp_labels(torch.from_numpy(pair.moving), u)
    fixed = torch.from_numpy(pair.fixed)
    return Scores(
        moved.numpy(),
        list(dsc(fixed, moved, LABELS).values()),
        list(hd95(fixed, moved, LABELS, (1, 1, 1)).values()),
        sdlogj(u, "l2r"),
    )


def test_all_metrics_of_a_pair(pair: PairOfScans) -> None:
    plain, fast = plain_scores(pair), fast_scores(pair)
    assert np.array_equal(fast.moved, plain.moved)
    assert fast.dice == plain.dice
    assert fast.hausdorff == plain.hausdorff
    assert abs(fast.regularity - plain.regularity) <= 1e-9
    result = ratio(lambda: plain_scores(pair), lambda: fast_scores(pair), repeats=3)
    print(f"\nall metrics of a pair: {result}; SDlogJ differs by {abs(fast.regularity - plain.regularity):.1e}")  # noqa: T201
    assert result.cpu >= 4


def test_each_part(pair: PairOfScans) -> None:
    moved = plain_warp(pair)
    u, moving = torch.from_numpy(pair.u), torch.from_numpy(pair.moving)
    parts: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "label warp": (lambda: plain_warp(pair), lambda: warp_labels(moving, u), 1.5),
        "DSC": (lambda: plain_dice(pair.fixed, moved), lambda: dsc(pair.fixed, moved, LABELS), 15),
        "HD95": (
            lambda: plain_hausdorff(pair.fixed, moved),
            lambda: hd95(pair.fixed, moved, LABELS, (1, 1, 1)),
            2,
        ),
        "SDlogJ": (lambda: plain_regularity(pair.u), lambda: sdlogj(u, "l2r"), 6),
    }
    for name, (plain, fast, least) in parts.items():
        result = ratio(plain, fast, repeats=3)
        print(f"\n{name}: {result}")  # noqa: T201
        assert result.cpu >= least, name


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (2.4, 2.0, 3.2), (1.5, 1.5, 3.15)])
def test_hausdorff_distances_in_millimetres(pair: PairOfScans, spacing: tuple[float, ...]) -> None:
    moved = plain_warp(pair)
    assert list(hd95(pair.fixed, moved, LABELS, spacing).values()) == plain_hausdorff(pair.fixed, moved, spacing)
    result = ratio(
        lambda: plain_hausdorff(pair.fixed, moved, spacing),
        lambda: hd95(pair.fixed, moved, LABELS, spacing),
        repeats=3,
    )
    print(f"\nHD95 at {spacing}: {result}")  # noqa: T201
    assert result.cpu >= 1


def test_memory_of_the_jacobian(pair: PairOfScans) -> None:
    u: Tensor = torch.from_numpy(pair.u)
    plain, fast = peak_bytes(lambda: plain_regularity(pair.u)), peak_bytes(lambda: sdlogj(u, "l2r"))
    print(f"\npeak memory of SDlogJ: {plain / 2**20:.0f} MiB plain, {fast / 2**20:.0f} MiB fast")  # noqa: T201
    assert fast <= plain / 10
