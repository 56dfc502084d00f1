"""Contours: points, distances, and a gradient that brings a shifted sphere back."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from torch import Tensor

from regbench.spatial import warp
from regbench_methods.contour import chamfer, contour_loss, contour_points, draw, nearest

SHAPE = (20, 18, 22)


def ball(centre: tuple[float, float, float], radius: float, label: int = 1) -> Tensor:
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")).float()
    inside = (grid - torch.tensor(centre)[:, None, None, None]).square().sum(0) <= radius**2
    return (inside * label).to(torch.uint8)


def loss_of(fixed: Tensor, moving: Tensor, u: Tensor, points: int = 10_000, labels: tuple[int, ...] = (1,)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return contour_loss(
        fixed, moving, u, labels, spacing_mm=(1.0, 1.0, 1.0), unit_mm=1.0, points=points, generator=generator
    )


def test_points_lie_between_the_organ_and_the_rest() -> None:
    mask = torch.zeros(5, 5, 5, dtype=torch.uint8)
    mask[2, 2, 2] = 3
    points = contour_points(mask, (3, 4))
    assert set(points) == {3}
    assert sorted(map(tuple, points[3].tolist())) == sorted(
        tuple(2 + 0.5 * sign * (axis == a) for a in range(3)) for axis in range(3) for sign in (-1, 1)
    )


def test_points_are_on_the_sphere_on_average() -> None:
    found = contour_points(ball((10, 9, 11), 6.5), (1,))[1]
    radius = (found - torch.tensor([10.0, 9.0, 11.0])).norm(dim=1).mean()
    assert radius.item() == pytest.approx(6.5, abs=0.15)


def test_two_organs_that_touch_share_their_border() -> None:
    mask = torch.ones(4, 4, 4, dtype=torch.uint8)
    mask[2:] = 2
    points = contour_points(mask, (1, 2))
    assert torch.equal(points[1], points[2])
    assert (points[1][:, 0] == 1.5).all()


def test_an_organ_that_leaves_the_volume_has_no_outline_there() -> None:
    assert contour_points(torch.ones(4, 4, 4, dtype=torch.uint8), (1,)) == {}


def test_chamfer_equals_plain_distances() -> None:
    def residue(mask: Tensor) -> np.ndarray:
        voxels = mask.numpy() == 1
        return np.argwhere(voxels & ~binary_erosion(voxels)).astype(np.float64)

    a, b = residue(ball((10, 9, 11), 6)), residue(ball((8, 9, 12), 5))
    expected = (cKDTree(b).query(a)[0] ** 2).mean() + (cKDTree(a).query(b)[0] ** 2).mean()
    table = ((a[:, None] - b[None]) ** 2).sum(-1)
    assert table.min(1).mean() + table.min(0).mean() == pytest.approx(expected)
    assert chamfer(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("reach", [0.5, 3.0, 1e4])
def test_distances_beyond_the_reach_count_no_more_than_it(reach: float) -> None:
    a, b = torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a[:10] += 50  # outlines of what is no organ
    squares = [torch.from_numpy(cKDTree(y.numpy()).query(x.numpy())[0]) ** 2 for x, y in ((a, b), (b, a))]
    expected = sum((1 / (1 / square + 1 / reach**2)).mean() for square in squares)
    torch.testing.assert_close(chamfer(a, b, reach), expected)
    assert chamfer(a, b, reach) < 2 * reach**2
    assert torch.autograd.gradcheck(lambda x: chamfer(x, b, reach), (a.requires_grad_(),))


def test_the_reach_is_in_millimetres() -> None:
    fixed, moving, u = ball((10, 9, 11), 5), ball((9, 10, 11), 5), torch.zeros(3, *SHAPE)
    settings = {"labels": (1,), "points": 10_000, "generator": torch.Generator().manual_seed(0)}
    in_voxels = contour_loss(fixed, moving, u, spacing_mm=(1.0, 1.0, 1.0), unit_mm=1.0, reach_mm=1.5, **settings)
    in_units = contour_loss(fixed, moving, u, spacing_mm=(2.0, 2.0, 2.0), unit_mm=10.0, reach_mm=3.0, **settings)
    assert in_units.item() == pytest.approx(in_voxels.item() * 0.2**2, rel=1e-5)
    assert in_voxels < contour_loss(fixed, moving, u, spacing_mm=(1.0, 1.0, 1.0), unit_mm=1.0, **settings)


def test_nearest_is_nearest() -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(50, 3, generator=generator), torch.rand(70, 3, generator=generator)
    assert torch.equal(nearest(a, b), torch.cdist(a, b).argmin(1))


def test_chamfer_gradient() -> None:
    generator = torch.Generator().manual_seed(5)
    a, b = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: chamfer(x, b), (a.requires_grad_(),))


def test_field_gradient_agrees_with_finite_differences() -> None:
    fixed, moving = ball((10, 9, 11), 5), ball((9, 10, 11), 5)
    # not at zero, where voxel faces of the two masks lie at equal distances and the nearest one jumps
    u, direction = 0.2 * torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    leaf = u.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(fixed, moving, leaf), leaf)
    step = 1e-5
    change = loss_of(fixed, moving, u + step * direction) - loss_of(fixed, moving, u - step * direction)
    assert (slope * direction).sum().item() == pytest.approx(change.item() / (2 * step), rel=1e-3)


def test_descent_brings_a_shifted_sphere_back() -> None:
    fixed, moving = ball((10, 9, 11), 5), ball((12, 8, 9), 5)
    shift = torch.zeros(3, 1, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=0.2)
    for _ in range(80):
        optimiser.zero_grad()
        loss_of(fixed, moving, shift.expand(3, *SHAPE), points=500).backward()
        optimiser.step()
    torch.testing.assert_close(shift.detach().flatten(), torch.tensor([2.0, -1.0, -2.0]), atol=0.1, rtol=0)
    moved = warp(moving[None, None].float(), shift.detach().expand(3, *SHAPE)[None], mode="nearest")[0, 0]
    assert (moved != fixed).sum() <= 0.02 * fixed.sum()


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (ball((10, 9, 11), 0.4), ball((9, 9, 9), 4)),
        (ball((10, 9, 11), 4), torch.zeros(SHAPE, dtype=torch.uint8)),
        (torch.zeros(SHAPE, dtype=torch.uint8), torch.zeros(SHAPE, dtype=torch.uint8)),
        (ball((0, 0, 0), 4), ball((19, 17, 21), 4)),
    ],
    ids=["one voxel", "absent in one", "absent in both", "at the border"],
)
def test_edges_are_finite(fixed: Tensor, moving: Tensor) -> None:
    leaf = torch.zeros(3, *SHAPE, requires_grad=True)
    loss = loss_of(fixed, moving, leaf, labels=(1, 2))
    loss.backward()
    assert torch.isfinite(loss)
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad.abs().sum() > 0) == bool(fixed.any() and moving.any())


def test_the_unit_scales_the_square() -> None:
    fixed, moving, u = ball((10, 9, 11), 5), ball((9, 10, 11), 5), torch.zeros(3, *SHAPE)
    settings = {"labels": (1,), "points": 10_000, "generator": torch.Generator().manual_seed(0)}
    fine = contour_loss(fixed, moving, u, spacing_mm=(1.0, 1.0, 1.0), unit_mm=1.0, **settings)
    coarse = contour_loss(fixed, moving, u, spacing_mm=(2.0, 2.0, 2.0), unit_mm=4.0, **settings)
    assert coarse.item() == pytest.approx(fine.item() / 4, rel=1e-5)


def test_draw_takes_distinct_points() -> None:
    points = torch.arange(30.0).view(10, 3)
    drawn = draw(points, 4, torch.Generator().manual_seed(0))
    assert len({tuple(p) for p in drawn.tolist()}) == 4
    assert torch.equal(draw(points, 10, torch.Generator()), points)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_is_seen_in_the_loss(value: float) -> None:
    u = torch.zeros(3, *SHAPE)
    u[:, 9:12] = value
    fixed, moving = ball((10, 9, 11), 5), ball((9, 9, 11), 5)
    assert not loss_of(fixed, moving, u).isfinite()


def test_outlines_are_those_of_each_organ_alone() -> None:
    mask = torch.randint(0, 6, SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together = contour_points(mask, (5, 2, 9, 1))
    assert list(together) == [5, 2, 1]
    for label, points in together.items():
        assert torch.equal(points, contour_points((mask == label).to(torch.uint8), (1,))[1])
