import pytest
import torch
import torch.nn.functional as F

from regbench_baselines.layers.blocks import (
    Conv3,
    FlowHead,
    UpsampledConv,
    conv3,
    crop_to,
    lean_leaky_relu,
    pad_to_multiple,
    recomputed,
)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return values.requires_grad_()


def gradients(output: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(9), dtype=output.dtype)
    return torch.autograd.grad((output * direction).sum(), inputs)


@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 3, 4), (5, 4, 3), (8, 6, 10), (40, 40, 6)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_conv3_is_the_convolution(shape, batch, last) -> None:
    x, weight, bias = random(batch, 7, *shape), random(5, 7, 3, 3, 3, seed=1), random(5, seed=2)
    given = x.to(memory_format=torch.channels_last_3d) if last else x
    expected = F.conv3d(x, weight, bias, padding=1)
    found = conv3(given, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for ours, plain in zip(gradients(found, x, weight, bias), gradients(expected, x, weight, bias), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3)


def test_conv3_without_bias_as_a_module() -> None:
    module = Conv3(3, 2, bias=False)
    assert module.bias is None
    x = random(1, 3, 5, 5, 5)
    torch.testing.assert_close(module(x), F.conv3d(x, module.weight, padding=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_upsampled_conv_is_upsample_join_and_convolve(dtype) -> None:
    module = UpsampledConv(3, 2, 4).to(dtype)
    coarse, skip = random(1, 3, 3, 4, 5, dtype=dtype), random(1, 2, 6, 8, 10, seed=1, dtype=dtype)
    joined = torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), skip], 1)
    expected = F.conv3d(joined, module.weight, module.bias, padding=1)
    found = module(coarse, skip)
    inputs = (coarse, skip, module.weight, module.bias)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found, expected, **tolerance)
    for ours, plain in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(ours, plain, **tolerance)


def test_upsampled_conv_has_no_keys_beyond_a_convolution() -> None:
    assert set(UpsampledConv(3, 2, 4).state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("expanded", [False, True])
def test_lean_leaky_relu_has_the_gradient_of_leaky_relu(expanded) -> None:
    x = random(1, 2, 3, 4, 5, dtype=torch.float64)
    found, expected = lean_leaky_relu(x * 1, 0.2), F.leaky_relu(x, 0.2)
    assert torch.equal(found, expected)
    if expanded:  # the gradient of a sum is one number in a strided coat: writing into it would be wrong
        ours, plain = torch.autograd.grad(found.sum(), x)[0], torch.autograd.grad(expected.sum(), x)[0]
    else:
        ours, plain = gradients(found, x)[0], gradients(expected, x)[0]
    assert torch.equal(ours, plain)


def test_lean_leaky_relu_without_gradients() -> None:
    x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1, 1)
    assert lean_leaky_relu(x, 0.2).flatten().tolist() == pytest.approx([-0.2, 2.0])


def test_head_starts_near_zero_and_stays_in_full_precision_under_autocast() -> None:
    head = FlowHead(8)
    assert head.weight.std() < 2e-5
    assert not head.bias.any()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(1, 8, 4, 4, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_padding_is_at_the_far_end_and_crop_undoes_it() -> None:
    x = torch.randn(1, 2, 5, 8, 9)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 2, 8, 8, 12)
    assert torch.equal(crop_to(padded, (5, 8, 9)), x)
    assert torch.count_nonzero(padded) == torch.count_nonzero(x)
    assert pad_to_multiple(padded, 4) is padded


@pytest.mark.parametrize("enabled", [False, True])
def test_recomputed_changes_nothing(enabled) -> None:
    x = random(4, dtype=torch.float64)
    calls = []

    def cube(value: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return value**3

    assert torch.equal(torch.autograd.grad(recomputed(enabled, cube, x).sum(), x)[0], 3 * x**2)
    assert len(calls) == (2 if enabled else 1)
    with torch.no_grad():
        recomputed(enabled, cube, x)
    assert len(calls) == (3 if enabled else 2)
