"""Warping against scipy, MONAI and torch's sampler."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.blocks import Warp
from scipy import ndimage
from torch import Tensor

from regbench.errors import BadValueError
from regbench.spatial import blocks, sample, warp, warp_labels
from regbench.spatial.gridsample import GridSample
from regbench.spatial.trilinear import Trilinear

shapes = st.tuples(*[st.integers(1, 6)] * 3)
seeds = st.integers(0, 2**16)


def _random(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def _scipy(image: Tensor, u: Tensor, order: int, mode: str) -> np.ndarray:
    points = np.indices(u.shape[1:]) + u.double().numpy()
    return ndimage.map_coordinates(image.numpy(), points, order=order, mode=mode, cval=0)


@settings(deadline=None, max_examples=40)
@given(shapes, shapes, seeds)
def test_linear_is_scipys_with_zeros_around(shape: tuple[int, int, int], grid: tuple[int, int, int], seed: int) -> None:
    image, u = _random(seed, 2, 2, *shape), _random(seed + 1, 2, 3, *grid, scale=2)
    warped = warp(image, u)
    for item in range(2):
        for channel in range(2):
            expected = _scipy(image[item, channel], u[item], 1, "grid-constant")
            np.testing.assert_allclose(warped[item, channel].numpy(), expected, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(shapes, seeds, st.sampled_from([torch.float32, torch.float64]))
def test_a_zero_field_is_the_identity_bit_for_bit(shape: tuple[int, int, int], seed: int, dtype: torch.dtype) -> None:
    image, u = _random(seed, 1, 2, *shape).to(dtype), torch.zeros(1, 3, *shape, dtype=dtype)
    assert torch.equal(warp(image, u), image)
    assert torch.equal(warp(image, u, "nearest"), image)


@settings(deadline=None, max_examples=25)
@given(shapes, shapes, seeds, st.booleans())
def test_both_samplers_agree_with_their_gradients(
    shape: tuple[int, int, int], grid: tuple[int, int, int], seed: int, relative: bool
) -> None:
    results = []
    for sampler in (Trilinear, GridSample):
        image = _random(seed, 2, 2, *shape).requires_grad_()
        field = _random(seed + 1, 2, 3, *grid, scale=2).requires_grad_()
        warped = sampler.apply(image, field, relative)
        weight = _random(seed + 2, *warped.shape)
        results.append([warped, *torch.autograd.grad((warped * weight).sum(), [image, field])])
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("sampler", [Trilinear, GridSample])
def test_gradients(sampler: type[torch.autograd.Function]) -> None:
    image, field = _random(0, 2, 2, 3, 4, 2).requires_grad_(), _random(1, 2, 3, 2, 3, 4, scale=1.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda *both: sampler.apply(*both, True), (image, field))


def test_gradient_for_one_of_both_alone() -> None:
    image, field = _random(0, 1, 2, 5, 4, 3), _random(1, 1, 3, 5, 4, 3)
    both = [image.clone().requires_grad_(), field.clone().requires_grad_()]
    warp(*both).square().sum().backward()
    for which in (0, 1):
        alone = [image.clone(), field.clone()]
        alone[which].requires_grad_()
        warp(*alone).square().sum().backward()
        assert torch.equal(alone[which].grad, both[which].grad)
        assert alone[1 - which].grad is None


def test_float32_against_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 1, 6, 6, 6, generator=generator), size=(24, 20, 28), mode="trilinear")
    u = F.interpolate(torch.randn(1, 3, 4, 4, 4, generator=generator), size=(24, 20, 28), mode="trilinear") * 3
    torch.testing.assert_close(warp(image, u), warp(image.double(), u.double()).float(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:monai.networks.blocks.Warp")
def test_interior_is_monais() -> None:
    image, u = _random(0, 1, 2, 9, 10, 11).float(), _random(1, 1, 3, 9, 10, 11, scale=0.5).float().clamp(-1.9, 1.9)
    monai = Warp(mode="bilinear", padding_mode="zeros")(image, u)
    inner = (..., slice(2, -2), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(warp(image, u)[inner], monai[inner], rtol=0, atol=1e-5)


def test_component_c_moves_along_axis_c() -> None:
    image = _random(0, 1, 1, 5, 6, 7)
    for axis in range(3):
        u = torch.zeros(1, 3, 5, 6, 7, dtype=torch.float64)
        u[:, axis] = 1
        expected = F.pad(image, [0, 1] * 3).roll(-1, axis + 2)[:, :, :5, :6, :7]
        assert torch.equal(warp(image, u), expected)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    image, u = _random(0, 2, 2, 7, 5, 6), _random(1, 2, 3, 7, 5, 6)
    whole, labels = warp(image, u), warp(image, u, "nearest")
    gradient = torch.autograd.functional.jvp(lambda v: warp(image, v), u, u)[0]
    monkeypatch.setattr(blocks, "POINTS", 60)
    assert torch.equal(warp(image, u), whole)
    assert torch.equal(warp(image, u, "nearest"), labels)
    assert torch.equal(gradient, whole)


def test_gradient_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> tuple[Tensor, ...]:
        image, u = _random(0, 2, 2, 7, 5, 6).requires_grad_(), _random(1, 2, 3, 7, 5, 6).requires_grad_()
        return torch.autograd.grad(warp(image, u).square().sum(), [image, u])

    whole = gradients()
    monkeypatch.setattr(blocks, "POINTS", 60)
    for one, other in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_strided_inputs() -> None:
    image, u = _random(0, 1, 2, 6, 5, 4), _random(1, 1, 3, 6, 5, 4)
    strided = u.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3).requires_grad_()
    expected = u.clone().requires_grad_()
    weight = torch.ones(1, 2, 1, 1, 1, dtype=torch.float64).expand(1, 2, 6, 5, 4)
    (warp(image.transpose(2, 4).contiguous().transpose(2, 4), strided) * weight).sum().backward()
    (warp(image, expected) * weight).sum().backward()
    assert torch.equal(strided.grad, expected.grad)


def test_nothing_is_kept_but_the_inputs() -> None:
    image, u = _random(0, 1, 1, 6, 5, 4), _random(1, 1, 3, 6, 5, 4).requires_grad_()
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        warp(image, u)
    assert set(kept) == {image.data_ptr(), u.data_ptr()}


def test_autocast_changes_nothing() -> None:
    image, u = _random(0, 1, 2, 6, 5, 4).float(), _random(1, 1, 3, 6, 5, 4).float()
    expected = warp(image, u), warp(image, u.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(image, u), expected[0])
        assert torch.equal(warp(image, u.bfloat16()), expected[1])
        assert torch.equal(GridSample.apply(image, u, True), GridSample.apply(image, u, True).float())


def test_points_that_are_not_numbers_or_far_away() -> None:
    image, u = torch.ones(1, 1, 4, 5, 6), torch.zeros(1, 3, 4, 5, 6)
    u[0, 0, 1, 2, 3], u[0, 1, 2, 2, 2], u[0, 2, 0, 0, 0] = torch.nan, 1e30, -1e9
    u.requires_grad_()
    warped = warp(image, u)
    assert warped[0, 0, 1, 2, 3].isnan()
    assert warped[0, 0, 2, 2, 2] == warped[0, 0, 0, 0, 0] == 0
    assert warped.nansum() == image.numel() - 3
    assert warp(image, u, "nearest").sum() == image.numel() - 3
    warped[0, 0, 2].sum().backward()
    assert u.grad[0, :, 2, 2, 2].eq(0).all()


def test_unknown_mode() -> None:
    with pytest.raises(BadValueError, match="'linear' or 'nearest', not 'cubic'"):
        inspect.unwrap(warp)(torch.ones(1, 1, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2), "cubic")


@settings(deadline=None, max_examples=60)
@given(shapes, shapes, seeds, st.sampled_from([torch.float32, torch.float64]))
def test_labels_are_scipys(
    shape: tuple[int, int, int], grid: tuple[int, int, int], seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 255, shape, dtype=torch.uint8, generator=generator)
    u = torch.randn(3, *grid, dtype=dtype, generator=generator) * 3
    u[:, ::2] = (2 * u[:, ::2]).round() / 2  # half voxels: where ties are decided
    u[:, 1::3] += torch.finfo(dtype).eps * torch.randn(u[:, 1::3].shape, dtype=dtype, generator=generator)
    warped = warp_labels(labels, u)
    assert warped.dtype == torch.uint8
    np.testing.assert_array_equal(warped.numpy(), _scipy(labels, u, 0, "constant"))


@pytest.mark.parametrize("tiny", [1e-20, 1e-15, -1e-20, -1e-15, 0.49999997, -0.5, 0.5, 1.5])
def test_labels_at_the_edge_of_rounding(tiny: float) -> None:
    labels = torch.arange(1, 126, dtype=torch.uint8).view(5, 5, 5)
    for axis in range(3):
        u = torch.zeros(3, 5, 5, 5)
        u[axis] = tiny
        np.testing.assert_array_equal(warp_labels(labels, u).numpy(), _scipy(labels, u, 0, "constant"))


def test_nearest_keeps_type_batch_and_channels() -> None:
    image = torch.arange(2 * 3 * 4 * 5 * 6).view(2, 3, 4, 5, 6)
    u = _random(1, 2, 3, 4, 5, 6)
    warped = warp(image, u, "nearest")
    assert warped.dtype == torch.int64
    for item in range(2):
        for channel in range(3):
            expected = _scipy(image[item, channel], u[item], 0, "constant")
            np.testing.assert_array_equal(warped[item, channel].numpy(), expected)


@settings(deadline=None, max_examples=25)
@given(shapes, st.integers(0, 30), seeds)
def test_sample_is_scipys(shape: tuple[int, int, int], count: int, seed: int) -> None:
    image, points = _random(seed, 2, 3, *shape), _random(seed + 1, 2, count, 3, scale=4)
    values = sample(image, points)
    assert values.shape == (2, 3, count)
    for item in range(2):
        for channel in range(3):
            expected = ndimage.map_coordinates(
                image[item, channel].numpy(), points[item].T.numpy(), order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(values[item, channel].numpy(), expected, atol=1e-12)


def test_sample_is_differentiable_in_image_and_points() -> None:
    image, points = _random(0, 2, 2, 4, 3, 5).requires_grad_(), _random(1, 2, 9, 3).add(2).requires_grad_()
    assert torch.autograd.gradcheck(sample, (image, points))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    image, u = _random(0, 2, 2, 9, 1, 7).float(), _random(1, 2, 3, 9, 1, 7, scale=2).float()
    there = warp(image.cuda(), u.cuda())
    torch.testing.assert_close(there.cpu(), warp(image, u), rtol=0, atol=1e-5)
    torch.testing.assert_close(warp(image.cuda(), torch.zeros_like(u).cuda()).cpu(), image, rtol=0, atol=1e-5)
    assert torch.equal(warp(image.cuda(), u.cuda(), "nearest").cpu(), warp(image, u, "nearest"))


def test_a_displacement_may_lie_in_memory_as_it_likes() -> None:
    labels = torch.randint(0, 9, (6, 7, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    u = _random(0, 3, 8, 6, 7).permute(0, 2, 3, 1)
    assert not u.is_contiguous()
    assert torch.equal(
        warp_labels(labels.permute(2, 1, 0).contiguous().permute(2, 1, 0), u), warp_labels(labels, u.contiguous())
    )
