"""Dice losses against one-hot volumes, MONAI and closed forms."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss
from torch import Tensor

from regbench.errors import BadValueError
from regbench.losses import mse, soft_dice, warped_dice
from regbench.spatial import blocks, warp


def _mask(seed: int, *shape: int, labels: int = 6) -> Tensor:
    return torch.randint(0, labels, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def _organs(seed: int, *shape: int) -> Tensor:
    """Labels in pieces large enough to have an inside."""
    coarse = _mask(seed, *shape[:2], *(n // 4 + 1 for n in shape[2:]))
    for axis, n in enumerate(shape[2:], start=2):
        coarse = coarse.repeat_interleave(4, axis).narrow(axis, 0, n)
    return coarse.contiguous()


def _field(seed: int, *shape: int, scale: float = 1.5) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def _plain(one_hot: Callable[..., Tensor], fixed: Tensor, moving: Tensor, u: Tensor, labels: tuple[int, ...]) -> Tensor:
    return soft_dice(one_hot(fixed, labels), warp(one_hot(moving, labels), u))


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([(1, 2, 3, 4, 5), (0, 2), (5,), (1, 77), (254, 3)]),
    st.sampled_from([_mask, _organs]),
    st.integers(0, 2**16),
)
def test_warped_dice_is_that_of_warped_one_hot_masks(
    one_hot: Callable[..., Tensor],
    grid: tuple[int, int, int],
    shape: tuple[int, int, int],
    labels: tuple[int, ...],
    kind: Callable[..., Tensor],
    seed: int,
) -> None:
    fixed, moving = kind(seed, 2, 1, *grid), kind(seed + 1, 2, 1, *shape)
    for mask in (fixed, moving):
        mask[mask == 1], mask[mask == 2] = 254, 255
    u = _field(seed, 2, 3, *grid).requires_grad_()
    ours, plain = warped_dice(fixed, moving, u, labels), _plain(one_hot, fixed, moving, u, labels)
    assert ours.item() == pytest.approx(plain.item(), abs=1e-12)
    (one,), (other,) = (torch.autograd.grad(loss, u) for loss in (ours, plain))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving = _organs(0, 1, 1, 12, 9, 10), _organs(1, 1, 1, 12, 9, 10)
    u = _field(2, 1, 3, 12, 9, 10).requires_grad_()
    value = warped_dice(fixed, moving, u, (1, 2, 3))
    (gradient,) = torch.autograd.grad(value, u)
    monkeypatch.setattr(blocks, "POINTS", 200)
    again = warped_dice(fixed, moving, u, (1, 2, 3))
    torch.testing.assert_close(again, value, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(again, u)[0], gradient, rtol=0, atol=1e-15)


def test_gradcheck() -> None:
    u = _field(2, 2, 3, 3, 4, 2).requires_grad_()
    masks = _mask(0, 2, 1, 3, 4, 2, labels=3), _mask(1, 2, 1, 4, 3, 3, labels=3)
    assert torch.autograd.gradcheck(lambda v: warped_dice(*masks, v, (1, 2)), u)


def test_descending_brings_a_shifted_organ_back() -> None:
    fixed, moving = torch.zeros(2, 1, 1, 12, 12, 12, dtype=torch.uint8)
    fixed[:, :, 3:8, 3:8, 3:8] = moving[:, :, 5:10, 3:8, 3:8] = 7
    shift = torch.zeros(1, 3, 1, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        loss = warped_dice(fixed, moving, shift.expand(1, 3, 12, 12, 12), (7,))
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(shift.detach().flatten(), torch.tensor([2.0, 0.0, 0.0]), rtol=0, atol=0.15)


def test_labels_that_neither_mask_holds_do_not_count() -> None:
    fixed, moving = _organs(0, 1, 1, 8, 8, 8), _organs(1, 1, 1, 8, 8, 8)
    u = _field(2, 1, 3, 8, 8, 8, scale=0.3)
    assert torch.equal(warped_dice(fixed, moving, u, (1, 2)), warped_dice(fixed, moving, u, (1, 2, 9, 250)))
    assert warped_dice(fixed, moving, u, (9,)) == warped_dice(fixed, moving, u, ()) == 0


def test_a_label_of_one_mask_alone_costs_1_and_pulls_nowhere() -> None:
    fixed, moving = torch.zeros(2, 1, 1, 6, 6, 6, dtype=torch.uint8)
    moving[:, :, 2:4, 2:4, 2:4] = 1
    u = torch.full((1, 3, 6, 6, 6), 0.25, requires_grad=True)
    loss = warped_dice(fixed, moving, u, (1,))
    loss.backward()
    assert loss == 1
    assert u.grad.eq(0).all()


def test_an_organ_of_one_voxel_and_a_mask_at_the_border(one_hot: Callable[..., Tensor]) -> None:
    fixed, moving = torch.zeros(2, 1, 1, 5, 5, 5, dtype=torch.uint8)
    fixed[:, :, 2, 2, 2], moving[:, :, 2, 2, 3] = 1, 1
    fixed[:, :, 0], moving[:, :, 4] = 2, 2
    u = _field(3, 1, 3, 5, 5, 5).requires_grad_()
    ours, plain = warped_dice(fixed, moving, u, (1, 2)), _plain(one_hot, fixed, moving, u, (1, 2))
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    (one,), (other,) = (torch.autograd.grad(loss, u) for loss in (ours, plain))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_float32_and_autocast() -> None:
    fixed, moving = _organs(0, 1, 1, 16, 12, 10), _organs(1, 1, 1, 16, 12, 10)
    u = _field(2, 1, 3, 16, 12, 10).float().requires_grad_()
    value = warped_dice(fixed, moving, u, (1, 2, 3))
    (gradient,) = torch.autograd.grad(value, u)
    exact = u.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(warped_dice(fixed, moving, exact, (1, 2, 3)), exact)
    assert value.dtype == torch.float32
    assert (gradient - expected).norm() < 1e-6 * expected.norm()
    with torch.autocast("cpu", torch.bfloat16):
        again = warped_dice(fixed, moving, u, (1, 2, 3))
        assert torch.equal(again, value)
        assert torch.equal(torch.autograd.grad(again, u)[0], gradient)
        assert warped_dice(fixed, moving, u.bfloat16(), (1, 2, 3)).dtype == torch.float32
        assert soft_dice(fixed.bfloat16() / 6, moving.bfloat16() / 6).dtype == torch.float32


@pytest.mark.parametrize("labels", [(1, 255), (-1,), (256,)])
def test_labels_that_cannot_be(labels: tuple[int, ...]) -> None:
    mask = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    with pytest.raises(BadValueError, match="between 0 and 254"):
        warped_dice(mask, mask, torch.zeros(1, 3, 2, 2, 2), labels)


def test_soft_dice_is_monais() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed, moved = torch.rand(2, 2, 3, 5, 4, 6, dtype=torch.float64, generator=generator)
    monai = DiceLoss(smooth_nr=0, smooth_dr=0)(moved, fixed)
    torch.testing.assert_close(soft_dice(fixed, moved), monai, rtol=1e-12, atol=0)


def test_soft_dice_of_equal_disjoint_and_absent_masks() -> None:
    mask = torch.zeros(1, 3, 4, 4, 4)
    mask[:, 0, :2], mask[:, 1, 2:] = 1, 1
    assert soft_dice(mask, mask) == 0
    assert soft_dice(mask[:, :2], mask[:, :2].flip(1)) == 1
    moved = torch.zeros(1, 3, 4, 4, 4, requires_grad=True)
    soft_dice(torch.zeros(1, 3, 4, 4, 4), moved).backward()
    assert moved.grad.eq(0).all()


def test_soft_dice_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed, moved = torch.rand(2, 1, 2, 2, 3, 2, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(soft_dice, (fixed.requires_grad_(), moved.requires_grad_()))


def test_mse() -> None:
    fixed, moved = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert mse(fixed, moved) == 2.5
    with torch.autocast("cpu", torch.bfloat16):
        assert mse(fixed.bfloat16(), moved.bfloat16()).dtype == torch.float32


def test_it_trains_after_it_was_asked_in_inference_mode() -> None:
    fixed, moving, u = _mask(1, 1, 1, 5, 6, 7), _mask(2, 1, 1, 5, 6, 7), _field(3, 1, 3, 5, 6, 7)
    labels = (1, 4, 5)
    with torch.inference_mode():
        seen = warped_dice(fixed, moving, u, labels)
    loss = warped_dice(fixed, moving, u.requires_grad_(), labels)
    loss.backward()
    assert loss == seen
    assert u.grad is not None
    assert u.grad.any()
