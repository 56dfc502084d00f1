"""LNCC: values and gradients against float64 convolutions, above all where float32 sums fail."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import Tensor

from regbench.errors import BadValueError
from regbench.losses import lncc, lncc_map
from regbench.losses.correlation import _at_once, _plane_by_plane
from regbench.spatial import warp

SIDE = 32


def _noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _texture(seed: int) -> Tensor:
    coarse = F.interpolate(_noise(seed, 1, 1, 6, 6, 6), size=(SIDE,) * 3, mode="trilinear")
    return coarse + 0.02 * _noise(seed + 100, 1, 1, SIDE, SIDE, SIDE)


def _z_score(image: Tensor) -> Tensor:
    return (image - image.mean()) / image.std()


def _pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Images as they come: in a background, z-scored, saturated, nearly flat."""
    fixed = _texture(0)
    moving = 0.6 * fixed + 0.4 * _texture(1)
    place = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
    body = (place.view(-1, 1, 1) ** 2 + place.view(-1, 1) ** 2 + place**2 < 0.6).double()
    slab = slice(SIDE // 3, 2 * SIDE // 3), slice(SIDE // 3 + 3, 2 * SIDE // 3 + 3)
    flat_fixed, flat_moving = fixed.clone(), moving.clone()
    flat_fixed[:, :, slab[0]] = flat_moving[:, :, slab[1]] = 1.0
    bright = (2 * fixed).clamp(max=1), (2 * moving).clamp(max=1)
    return {
        "texture": (fixed, moving),
        "background of 0": (fixed * body, moving * body),
        "z-scored background": (_z_score(fixed * body), _z_score(moving * body)),
        "z-scored strongly": (3 * _z_score((fixed * body) ** 3), 3 * _z_score((moving * body) ** 3)),
        "saturated slab": (flat_fixed, flat_moving),
        "z-scored saturated slab": (_z_score(flat_fixed), _z_score(flat_moving)),
        "saturated tissue": bright,
        "z-scored saturated tissue": (_z_score(bright[0]), _z_score(bright[1])),
        "little contrast": (0.9 + 0.01 * fixed, 0.9 + 0.01 * moving),
        "from 0 to 255": (255 * flat_fixed, 255 * flat_moving),
    }


PAIRS = {name: (fixed.float(), moving.float()) for name, (fixed, moving) in _pairs().items()}


def _field() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(1, 3, 5, 5, 5, dtype=torch.float64, generator=generator)
    return F.interpolate(coarse, size=(SIDE,) * 3, mode="trilinear", align_corners=True) * 1.5


def _flow_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], fixed: Tensor, moving: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    u = _field().to(dtype).requires_grad_()
    value = loss(fixed.to(dtype), warp(moving.to(dtype), u))
    value.backward()
    return value.detach().double(), u.grad.double()


@pytest.mark.parametrize("name", PAIRS)
def test_flow_gradient_in_float32_is_float64s(name: str, plain_lncc: Callable[..., Tensor]) -> None:
    fixed, moving = PAIRS[name]
    expected, gradient = _flow_gradient(plain_lncc, fixed, moving, torch.float64)
    value, ours = _flow_gradient(lncc, fixed, moving, torch.float32)
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    assert ((ours - gradient).norm() / gradient.norm()).item() < 1e-3


def test_where_float32_sums_fail(plain_lncc: Callable[..., Tensor]) -> None:
    """That the images above are hard: the plain way in float32 is off by far more than the bound above."""
    fixed, moving = PAIRS["z-scored saturated slab"]
    _, gradient = _flow_gradient(plain_lncc, fixed, moving, torch.float64)
    _, plain = _flow_gradient(plain_lncc, fixed, moving, torch.float32)
    assert ((plain - gradient).norm() / gradient.norm()).item() > 0.1


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2), *[st.integers(1, 12)] * 3),
    st.sampled_from([3, 5, 7, 9, 11, 13]),
    st.integers(0, 2**16),
)
def test_any_shape_and_window(
    plain_lncc: Callable[..., Tensor], shape: tuple[int, ...], window: int, seed: int
) -> None:
    fixed, moved = _noise(seed, *shape).requires_grad_(), _noise(seed + 1, *shape).requires_grad_()
    expected = plain_lncc(fixed, moved, window)
    value = lncc(fixed, moved, window=window)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)
    ours, theirs = (torch.autograd.grad(loss, [fixed, moved]) for loss in (value, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-9 * other.norm() + 1e-14


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.integers(1, 12)] * 3), st.sampled_from([3, 5, 9]), st.booleans())
def test_both_ways_agree(shape: tuple[int, int, int], window: int, differentiate: bool) -> None:
    fixed, moved = _noise(0, 2, *shape), _noise(1, 2, *shape)
    planes, at_once = (way(fixed, moved, window, differentiate) for way in (_plane_by_plane, _at_once))
    torch.testing.assert_close(planes[0], at_once[0], rtol=1e-12, atol=1e-12)
    if differentiate:
        torch.testing.assert_close(planes[1], at_once[1], rtol=1e-9, atol=1e-14)
    else:
        assert planes[1] is at_once[1] is None


def test_the_loss_is_minus_the_mean_of_the_map(plain_lncc: Callable[..., Tensor]) -> None:
    fixed, moved = _noise(0, 2, 3, 7, 9, 8), _noise(1, 2, 3, 7, 9, 8)
    found = lncc_map(fixed, moved, window=5)
    assert found.shape == fixed.shape
    assert found.mean().item() == pytest.approx(-lncc(fixed, moved, window=5).item(), abs=1e-12)
    here = (slice(None), slice(None), slice(1, 6), slice(2, 7), slice(3, 8))
    window = [image[here] for image in (fixed, moved)]
    alone = -plain_lncc(*(image[:1, :1] for image in window), window=5) * 125
    assert lncc_map(*window, window=5)[0, 0].sum().item() == pytest.approx(alone.item(), abs=1e-9)


def test_gradients() -> None:
    fixed, moved = _noise(0, 1, 2, 2, 3, 2).requires_grad_(), _noise(1, 1, 2, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda *images: lncc(*images, window=3), (fixed, moved))


def test_a_sum_that_runs_over_many_planes_does_not_drift(plain_lncc: Callable[..., Tensor]) -> None:
    fixed, moved = _noise(0, 1, 1, 70, 6, 5), _noise(1, 1, 1, 70, 6, 5)
    fixed[:, :, :30] *= 1e4
    moved[:, :, 20:40] = 3.0
    moved.requires_grad_()
    expected, value = plain_lncc(fixed, moved), lncc(fixed, moved)
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    (ours,), (theirs,) = (torch.autograd.grad(loss, moved) for loss in (value, expected))
    assert (ours - theirs)[:, :, 45:].norm() <= 1e-8 * theirs[:, :, 45:].norm()


def test_bounds() -> None:
    image = _noise(0, 1, 1, 14, 14, 14)
    assert lncc(image, image).item() == pytest.approx(-1, abs=1e-6)
    assert lncc(image, 3 * image).item() == pytest.approx(-1, abs=1e-6)  # a gain of one image does not matter
    assert -0.5 < lncc(image, _noise(1, 1, 1, 14, 14, 14)).item() < 0


@pytest.mark.parametrize("level", [0.0, 1.0, -3.7, 812.3])
def test_constant_images_are_finite_and_without_gradient(level: float) -> None:
    fixed, moved = torch.full((1, 1, 12, 12, 12), level), torch.full((1, 1, 12, 12, 12), level, requires_grad=True)
    value = lncc(fixed, moved)
    value.backward()
    assert -1 <= value.item() <= 0  # not 0 for another level: at the border the window holds the padding's zeros
    assert moved.grad.isfinite().all()
    assert moved.grad[0, 0, 5:7, 5:7, 5:7].abs().max() <= 1e-6 * max(1, abs(level))
    if level == 0:
        assert value == 0
        assert moved.grad.eq(0).all()


def test_autocast_changes_nothing() -> None:
    fixed, moved = (_noise(seed, 1, 1, 9, 9, 9).float().requires_grad_() for seed in (0, 1))
    expected = lncc(fixed, moved)
    gradients = torch.autograd.grad(expected, [fixed, moved])
    with torch.autocast("cpu", torch.bfloat16):
        value = lncc(fixed, moved)
        for one, other in zip(torch.autograd.grad(value, [fixed, moved]), gradients, strict=True):
            assert torch.equal(one, other)
        assert torch.equal(value, expected)
        half = lncc(fixed.bfloat16(), moved.bfloat16())
        at_once = _at_once(fixed.detach()[0], moved.detach()[0], 9, True)
    assert half.dtype == torch.float32
    assert torch.equal(half, lncc(fixed.bfloat16().float(), moved.bfloat16().float()))
    torch.testing.assert_close(at_once[1], gradients[1][0], rtol=0, atol=1e-6 * gradients[1].abs().max().item())


def test_a_voxel_that_is_no_number_is_not_hidden() -> None:
    moved = _noise(1, 1, 1, 9, 9, 9)
    moved[0, 0, 4, 4, 4] = torch.nan
    assert lncc(_noise(0, 1, 1, 9, 9, 9), moved).isnan()


def test_only_the_gradient_is_kept() -> None:
    fixed, moved = _noise(0, 1, 1, 9, 9, 9), _noise(1, 1, 1, 9, 9, 9).requires_grad_()
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        lncc(fixed, moved)
    assert kept == [9**3]


@pytest.mark.parametrize("window", [-3, 0, 1, 2, 8])
def test_windows_that_cannot_be(window: int) -> None:
    with pytest.raises(BadValueError, match=f"odd side of at least 3 voxels, not {window}"):
        lncc(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4), window=window)


def test_monais_loss_ranks_pairs_alike() -> None:
    """MONAI's is another loss (its windows do not count the padding); on an interior they agree to a percent."""
    fixed, moving = PAIRS["texture"]
    monai = LocalNormalizedCrossCorrelationLoss(kernel_size=9)
    ours, theirs = lncc(fixed, moving).item(), monai(moving, fixed).item()
    assert ours == pytest.approx(theirs, abs=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    fixed, moving = PAIRS["z-scored saturated slab"]
    moved = moving.clone().requires_grad_()
    lncc(fixed, moved).backward()
    there = moving.cuda().requires_grad_()
    lncc(fixed.cuda(), there).backward()
    assert ((there.grad.cpu() - moved.grad).norm() / moved.grad.norm()).item() < 1e-3
