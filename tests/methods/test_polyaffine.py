"""Organs' affine motions from masks: the maps against moments and matrix exponentials, the field by what it does."""

from itertools import count

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import expm
from torch import Tensor

from regbench.api import Grid, Pair, Volume
from regbench.errors import BadValueError
from regbench.spatial import jacobian_determinant, warp_labels
from regbench_methods.polyaffine import Polyaffine, _Gaussian, _gaussians, _points, _velocity, polyaffine

SHAPE, SPACING = (40, 32, 24), (2.0, 2.0, 3.0)


def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...], label: int = 1) -> Tensor:
    """A label map, all lengths in millimetres."""
    axes = torch.meshgrid(*(torch.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    far = sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True))
    return (torch.as_tensor(far) <= 1).to(torch.uint8) * label


def scan_of(mask: Tensor) -> Tensor:
    """A scan that shows a mask, smoothed a little."""
    return F.avg_pool3d(mask[None, None].float() / 4, 3, 1, padding=1)[0, 0]


def registered(fixed: Tensor, moving: Tensor, labels: tuple[int, ...], **options: float) -> Tensor:
    """The field of two masks on scans that show them as they are."""
    return polyaffine(scan_of(fixed), scan_of(moving), fixed, moving, labels, spacing_mm=SPACING, **options)


def overlap(fixed: Tensor, moved: Tensor) -> float:
    return float(2 * ((fixed > 0) & (moved == fixed)).sum() / ((fixed > 0).sum() + (moved > 0).sum()))


def gaussian(mask: Tensor) -> _Gaussian:
    points = _points(mask, SPACING)
    [organ] = _gaussians(mask, (1,), (points[:, None] * points).flatten(0, 1), SPACING)
    assert organ is not None
    return organ


def random_masks(seed: int) -> tuple[Tensor, Tensor]:
    noise = torch.randn(2, 4, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, SHAPE, mode="trilinear")
    fixed, moving = smooth.argmax(1).to(torch.uint8)
    return fixed, moving


def test_the_flow_of_the_velocity_carries_mean_and_covariance() -> None:
    organ = gaussian(ellipsoid((30, 30, 30), (20, 12, 15)))
    there = gaussian(ellipsoid((44, 36, 39), (12, 20, 24)))
    flow = expm(np.vstack([_velocity(organ, there).numpy(), np.zeros(4)]))
    matrix, offset = flow[:3, :3], flow[:3, 3]
    np.testing.assert_allclose(matrix @ organ.mean.numpy() + offset, there.mean.numpy(), atol=1e-9)
    np.testing.assert_allclose(matrix @ organ.covariance.numpy() @ matrix.T, there.covariance.numpy(), atol=1e-9)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_the_moments_are_those_of_boxes() -> None:
    """A block of 4 × 3 × 2 voxels is a box of 8 × 6 × 6 mm: its variances are the squared sides over 12."""
    mask = torch.zeros(SHAPE, dtype=torch.uint8)
    mask[3:7, 5:8, 2:4] = 1
    organ = gaussian(mask)
    torch.testing.assert_close(organ.covariance, torch.diag(torch.tensor([64.0, 36, 36], dtype=torch.float64) / 12))
    from_the_middle = [(4.5 - 19.5) * 2, (6 - 15.5) * 2, (2.5 - 11.5) * 3]
    torch.testing.assert_close(organ.mean, torch.tensor(from_the_middle, dtype=torch.float64))


def test_two_organs_that_move_and_grow_apart_are_carried_to_their_places() -> None:
    fixed = ellipsoid((22, 30, 36), (12, 12, 12)) + ellipsoid((58, 34, 36), (10, 14, 15), label=2)
    moving = ellipsoid((26, 26, 30), (9, 15, 12)) + ellipsoid((54, 36, 42), (13, 11, 15), label=2)
    u = registered(fixed, moving, (1, 2))
    assert overlap(fixed, moving) < 0.75
    assert overlap(fixed, warp_labels(moving, u)) > 0.9


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every organ's motion is taken for a gain: of two maps, the second one is asked for the scan as it was."""
    falling = count(0, -1)
    monkeypatch.setattr("regbench_methods.polyaffine.lncc_map", lambda fixed, _: torch.full_like(fixed, next(falling)))


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("seed", range(4))
def test_the_field_of_ragged_masks_does_not_fold(seed: int) -> None:
    fixed, moving = random_masks(seed)
    u = registered(fixed, moving, (1, 2, 3))
    assert float(u.abs().max()) > 0.5
    assert float(jacobian_determinant(u).min()) > 0


def test_far_from_all_organs_nothing_moves() -> None:
    fixed, moving = ellipsoid((16, 16, 16), (8, 8, 8)), ellipsoid((22, 16, 16), (8, 8, 8))
    u = registered(fixed, moving, (1,), width_mm=4.0)
    torch.testing.assert_close(u[:, 8, 8, 5], torch.tensor([3.0, 0, 0]), atol=0.35, rtol=0)
    assert float(u[:, -1, -1, -1].abs().max()) < 1e-3


def test_autocast_changes_nothing() -> None:
    fixed, moving = ellipsoid((30, 30, 36), (12, 12, 12)), ellipsoid((36, 30, 36), (12, 12, 12))
    plain = registered(fixed, moving, (1,))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(registered(fixed, moving, (1,)), plain)


def test_equal_masks_give_the_identity() -> None:
    fixed, _ = random_masks(5)
    u = registered(fixed, fixed, (1, 2, 3))
    torch.testing.assert_close(u, torch.zeros(3, *SHAPE), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("unjudged")
def test_organs_that_one_scan_lacks_are_left_out_and_one_voxel_is_enough() -> None:
    fixed, moving = ellipsoid((30, 30, 36), (12, 12, 12)), ellipsoid((36, 30, 36), (12, 12, 12))
    alone = registered(fixed, moving, (1, 2, 3))
    fixed[0, 0, 0] = 2
    torch.testing.assert_close(registered(fixed, moving, (1, 2, 3)), alone)
    moving[1, 1, 1] = 2
    u = registered(fixed, moving, (1, 2, 3))
    assert torch.isfinite(u).all()
    assert not torch.equal(u, alone)
    assert not registered(fixed, torch.zeros_like(moving), (1, 2)).any()


def test_an_organ_that_is_badly_segmented_stays_and_the_others_go() -> None:
    """The masks say that the second organ has gone far away; the scans show it where it was."""
    fixed = ellipsoid((22, 30, 36), (12, 12, 12)) + ellipsoid((58, 34, 36), (10, 14, 15), label=2)
    moving = ellipsoid((26, 26, 30), (9, 15, 12)) + ellipsoid((58, 34, 36), (10, 14, 15), label=2)
    wrong = torch.where(moving == 2, 0, moving) + ellipsoid((58, 18, 36), (10, 5, 15), label=2)
    u = polyaffine(scan_of(fixed), scan_of(moving), fixed, wrong, (1, 2), spacing_mm=SPACING)
    moved = warp_labels(moving, u)
    assert overlap((fixed == 1).byte(), (moved == 1).byte()) > 0.9
    assert overlap((fixed == 2).byte(), (moved == 2).byte()) > 0.9
    assert float(u[:, 29, 17, 12].abs().max()) < 1


def test_an_organ_stretches_threefold_at_most() -> None:
    small, large = (gaussian(ellipsoid((40, 32, 36), (r, r, r))) for r in (4, 30))
    rates = torch.linalg.eigvalsh(_velocity(small, large)[:, :3])
    torch.testing.assert_close(rates, torch.full((3,), np.log(3.0), dtype=torch.float64))


def test_the_method_gives_the_field_of_the_masks_and_asks_for_them() -> None:
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    fixed, moving = random_masks(0)
    scans = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    pair = Pair(*(Volume(data, grid) for data in (*scans, fixed, moving)), (1, 2, 3))
    field = Polyaffine().register(pair)
    torch.testing.assert_close(field.displacement, polyaffine(*scans, fixed, moving, (1, 2, 3), spacing_mm=SPACING))
    assert Polyaffine().skip(pair) is None
    bare = pair.without_masks()
    assert Polyaffine().skip(bare) == "it needs masks of both scans"
    with pytest.raises(BadValueError, match="masks of both scans"):
        Polyaffine().register(bare)
