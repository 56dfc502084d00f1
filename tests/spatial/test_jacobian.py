"""The Jacobian determinant against analytic fields and numpy's differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regbench.errors import BadValueError
from regbench.spatial import jacobian_determinant


def test_of_a_linear_map(linear_field) -> None:
    matrix = np.array([[0.1, -0.3, 0.2], [0.05, -0.2, 0.4], [-0.1, 0.25, 0.3]])
    determinant = jacobian_determinant(linear_field(matrix, (7, 6, 5)))
    assert determinant.shape == (3, 2, 1)
    np.testing.assert_allclose(determinant.numpy(), np.linalg.det(np.eye(3) + matrix), rtol=1e-13)


@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 104, 90)])  # the second is computed in several blocks
def test_of_a_quadratic_map_whose_central_differences_are_exact(shape: tuple[int, int, int]) -> None:
    i, j, k = np.indices(shape).astype(float)
    u = np.stack([0.02 * i * i + 0.01 * j * k, 0.03 * j * j - 0.02 * i * k, 0.01 * k * k + 0.015 * i * j])
    rows = [
        [1 + 0.04 * i, 0.01 * k, 0.01 * j],
        [-0.02 * k, 1 + 0.06 * j, -0.02 * i],
        [0.015 * j, 0.015 * i, 1 + 0.02 * k],
    ]
    expected = np.linalg.det(np.moveaxis(np.array(rows), (0, 1), (-2, -1)))[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(jacobian_determinant(torch.from_numpy(u)).numpy(), expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.integers(5, 9)] * 3), st.integers(0, 2**16))
def test_is_that_of_numpys_gradient_inside(shape: tuple[int, int, int], seed: int) -> None:
    u = np.random.default_rng(seed).standard_normal((2, 3, *shape))
    gradient = np.moveaxis(np.array(np.gradient(u, axis=(2, 3, 4))), (2, 0), (-2, -1)) + np.eye(3)
    expected = np.linalg.det(gradient)[:, 2:-2, 2:-2, 2:-2]
    batch = jacobian_determinant(torch.from_numpy(u))
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-12)
    assert torch.equal(jacobian_determinant(torch.from_numpy(u[1])), batch[1])


def test_float32_and_autocast() -> None:
    u = torch.randn(3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    determinant = jacobian_determinant(u)
    torch.testing.assert_close(determinant, jacobian_determinant(u.double()).float(), rtol=0, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(jacobian_determinant(u), determinant)
    assert jacobian_determinant(u.bfloat16()).dtype == torch.float32


def test_too_small_a_field() -> None:
    with pytest.raises(BadValueError, match=r"at least 5 voxels .* the field has \(5, 4, 6\)"):
        jacobian_determinant(torch.zeros(3, 5, 4, 6))
