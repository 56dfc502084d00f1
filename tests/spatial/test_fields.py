"""Composition, integration, inversion and change of size, against closed forms of linear maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch import Tensor

from regbench.spatial import compose, integrate, invert, resize_displacement, warp

SHAPE = (20, 18, 16)
CENTRE = (9.3, 8.1, 7.6)
INNER = (..., slice(5, -5), slice(5, -5), slice(5, -5))


def _smooth(seed: int, *, scale: float, batch: int = 1) -> Tensor:
    noise = torch.randn(batch, 3, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=SHAPE, mode="trilinear", align_corners=True) * scale


def test_composition_of_linear_maps(linear_field, rotation: np.ndarray) -> None:
    shear = np.eye(3) + np.array([[0.05, 0.1, 0], [0, -0.04, 0.08], [0.06, 0, 0.02]])
    outer, inner = (linear_field(matrix - np.eye(3), SHAPE, CENTRE) for matrix in (rotation, shear))
    expected = linear_field(rotation @ shear - np.eye(3), SHAPE, CENTRE)
    torch.testing.assert_close(compose(outer, inner)[INNER], expected[INNER], rtol=0, atol=1e-12)
    assert (compose(inner, outer)[INNER] - expected[INNER]).abs().max() > 0.05  # the order counts


def test_warping_by_a_composition_is_warping_twice() -> None:
    outer, inner = _smooth(0, scale=0.7), _smooth(1, scale=0.7)
    index = torch.from_numpy(np.indices(SHAPE)).double()[None]
    twice = warp(warp(index, outer), inner)  # of the coordinates themselves, which trilinear sampling keeps
    expected = index + compose(outer, inner)
    torch.testing.assert_close(twice[INNER], expected[INNER], rtol=0, atol=1e-10)


def test_composition_on_another_grid(linear_field) -> None:
    outer = linear_field(0.1 * np.eye(3), SHAPE)
    inner = torch.full((3, 4, 3, 2), 2.5, dtype=torch.float64)
    composed = compose(outer, inner)
    expected = 2.5 + 0.1 * (2.5 + torch.from_numpy(np.indices((4, 3, 2))).double())
    torch.testing.assert_close(composed, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [5, 7])
def test_integration_of_a_linear_velocity_is_its_exponential(linear_field, steps: int) -> None:
    turn = np.array([[0, -0.2, 0.1], [0.2, 0, -0.15], [-0.1, 0.15, 0]])
    u = integrate(linear_field(turn, SHAPE, CENTRE), steps)
    scaled_and_squared = np.linalg.matrix_power(np.eye(3) + turn / 2**steps, 2**steps)
    torch.testing.assert_close(
        u[INNER], linear_field(scaled_and_squared - np.eye(3), SHAPE, CENTRE)[INNER], rtol=0, atol=1e-6
    )
    error = u[INNER] - linear_field(expm(turn) - np.eye(3), SHAPE, CENTRE)[INNER]
    assert error.abs().max() < 0.5 / 2**steps  # half a voxel over the number of steps: first order


def test_integration_of_minus_the_velocity_is_the_inverse() -> None:
    i, j, k = torch.from_numpy(np.indices(SHAPE)).double()
    velocity = torch.stack([torch.sin(0.3 * i + 0.1 * k), torch.cos(0.25 * j), torch.sin(0.2 * k + 0.2 * i)])
    back_and_forth = compose(integrate(velocity), integrate(-velocity))
    assert back_and_forth[INNER].abs().max() < 0.02 < integrate(velocity)[INNER].abs().max()


def test_a_velocity_that_goes_on_beyond_the_border_carries_points_across_it() -> None:
    drift = torch.tensor([3.0, 0.0, -2.0], dtype=torch.float64)[:, None, None, None].expand(3, *SHAPE)
    assert torch.equal(integrate(drift, beyond="border"), drift)
    assert integrate(drift)[0, -1].max() < 1  # where it ends at the border, so does the flow


def test_inverse_of_a_linear_map(linear_field, rotation: np.ndarray) -> None:
    u = linear_field(rotation - np.eye(3), SHAPE, CENTRE)
    expected = linear_field(np.linalg.inv(rotation) - np.eye(3), SHAPE, CENTRE)
    torch.testing.assert_close(invert(u, tolerance=1e-9)[INNER], expected[INNER], rtol=0, atol=1e-8)


def test_inverse_of_a_smooth_field() -> None:
    u = _smooth(3, scale=1.0, batch=2)
    v = invert(u, tolerance=1e-6)
    assert u[INNER].abs().max() > 0.5
    assert compose(u, v)[INNER].abs().max() < 1e-5


def test_inversion_stops_at_the_tolerance_or_the_count() -> None:
    u = _smooth(3, scale=1.0)
    exact = invert(u, tolerance=1e-9)[INNER]
    assert (invert(u, tolerance=0.05)[INNER] - exact).abs().max() < 0.1
    assert (invert(u, iterations=1, tolerance=1e-9)[INNER] - exact).abs().max() > 0.02


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.integers(1, 5)] * 3), st.tuples(*[st.integers(1, 7)] * 3))
def test_every_function_takes_any_shape(shape: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    u = torch.zeros(3, *shape)
    for result in (compose(u, u), integrate(u), invert(u), compose(u[None], u[None])[0]):
        assert torch.equal(result, u)
    assert torch.equal(resize_displacement(u, other), torch.zeros(3, *other))


def test_batches_are_items_one_by_one() -> None:
    u, v = _smooth(0, scale=1, batch=2), _smooth(5, scale=1, batch=2)
    for item in range(2):
        assert torch.equal(compose(u, v)[item], compose(u[item], v[item]))
        assert torch.equal(integrate(u)[item], integrate(u[item]))
        assert torch.equal(integrate(u, beyond="border")[item], integrate(u[item], beyond="border"))
        assert torch.equal(resize_displacement(u, (5, 6, 7))[item], resize_displacement(u[item], (5, 6, 7)))


def test_resizing_scales_each_component_by_its_axis(linear_field) -> None:
    u = torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1, 1).expand(3, 4, 6, 5)
    resized = resize_displacement(u, (8, 3, 5))
    assert resized.shape == (3, 8, 3, 5)
    torch.testing.assert_close(resized[:, 2, 1, 4], torch.tensor([2.0, -1.0, 3.0]))
    ramp = linear_field(np.diag([0.1, 0, 0]), (5, 4, 4))
    torch.testing.assert_close(resize_displacement(ramp, (9, 4, 4))[0, :, 0, 0], torch.linspace(0, 0.72, 9).double())


def test_gradients_reach_the_velocity() -> None:
    velocity = torch.randn(3, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.6
    assert torch.autograd.gradcheck(lambda v: integrate(v, 3), velocity.requires_grad_())
    assert torch.autograd.gradcheck(lambda v: integrate(v, 3, beyond="border"), velocity)
    assert torch.autograd.gradcheck(lambda v: resize_displacement(v, (4, 5, 3)), velocity)


def test_autocast_changes_nothing() -> None:
    u = _smooth(0, scale=1).float()
    calls = (
        lambda: compose(u, u),
        lambda: integrate(u),
        lambda: invert(u),
        lambda: resize_displacement(u, (7, 9, 11)),
    )
    for call in calls:
        expected = call()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(call(), expected)
    assert integrate(u.bfloat16()).dtype == torch.float32
