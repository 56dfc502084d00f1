"""The gradient penalty against plain differences and closed forms."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regbench.losses import gradient_penalty
from regbench.spatial import blocks


def _noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.integers(1, 2), *[st.integers(2, 7)] * 3), st.integers(0, 2**16))
def test_values_and_gradients(plain_penalty: Callable[..., Tensor], shape: tuple[int, ...], seed: int) -> None:
    u = _noise(seed, shape[0], 3, *shape[1:]).requires_grad_()
    ours, plain = gradient_penalty(u), plain_penalty(u)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    (one,), (other,) = (torch.autograd.grad(loss, u) for loss in (ours, plain))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    u = _noise(0, 2, 3, 9, 5, 4).requires_grad_()
    value = gradient_penalty(u)
    (gradient,) = torch.autograd.grad(value, u)
    monkeypatch.setattr(blocks, "POINTS", 45)
    in_blocks = gradient_penalty(u)
    torch.testing.assert_close(in_blocks, value, rtol=1e-13, atol=0)
    torch.testing.assert_close(torch.autograd.grad(in_blocks, u)[0], gradient, rtol=0, atol=1e-15)


def test_of_a_ramp() -> None:
    u = torch.zeros(1, 3, 5, 6, 7, dtype=torch.float64)
    u[0, 1] = 0.3 * torch.arange(6).view(1, -1, 1)
    assert gradient_penalty(u).item() == pytest.approx(0.3**2 / 3 / 3)  # one of three components, one of three axes


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 3), (4, 1, 3), (4, 3, 1)])
def test_an_axis_of_one_voxel_counts_as_0(shape: tuple[int, int, int]) -> None:
    u = _noise(0, 1, 3, *shape).requires_grad_()
    expected = sum(u.diff(dim=axis).square().mean().item() for axis in (2, 3, 4) if u.shape[axis] > 1) / 3
    value = gradient_penalty(u)
    assert value.item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(value, u)
    assert gradient.isfinite().all()


def test_gradients_and_strides() -> None:
    u = _noise(0, 2, 3, 3, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(gradient_penalty, u)
    strided = u.detach().permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3).requires_grad_()
    torch.testing.assert_close(
        torch.autograd.grad(gradient_penalty(strided), strided), torch.autograd.grad(gradient_penalty(u), u)
    )


def test_float32_and_autocast() -> None:
    u = _noise(0, 1, 3, 8, 9, 10).float().requires_grad_()
    value = gradient_penalty(u)
    gradient = torch.autograd.grad(value, u)[0]
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(gradient_penalty(u.double()).item(), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        again = gradient_penalty(u)
        assert torch.equal(again, value)
        assert torch.equal(torch.autograd.grad(again, u)[0], gradient)
        assert gradient_penalty(u.bfloat16()).dtype == torch.float32


def test_without_a_gradient_nothing_is_kept() -> None:
    with torch.no_grad():
        assert not gradient_penalty(_noise(0, 1, 3, 4, 4, 4).requires_grad_()).requires_grad
