import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench_baselines.layers import conv_units, upsampled_conv
from regbench_baselines.layers.conv_units import ConvUnit, ImageUnit, JoinedUnit
from regbench_baselines.layers.upsampled_conv import tap_matrices, upsample

SHAPES = [
    ((4, 3, 5), (8, 6, 10)),
    ((4, 3, 5), (7, 6, 9)),
    ((4, 4, 4), (8, 7, 8)),
    ((1, 1, 30), (1, 2, 59)),
    ((1,) * 3,) * 2,
]


def plain(x: Tensor, weight: Tensor) -> Tensor:
    return F.leaky_relu(torch.instance_norm(F.conv3d(x, weight, padding=1), *[None] * 4, True, 0.0, 1e-5, True), 0.01)


def gradients(result: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    return torch.autograd.grad(result, inputs, torch.randn(result.shape).to(result))


@pytest.mark.parametrize(("coarse", "fine"), SHAPES)
@pytest.mark.parametrize("tap_bytes", [1, 2**25])
def test_upsampled_conv(monkeypatch, coarse, fine, tap_bytes) -> None:
    monkeypatch.setattr(upsampled_conv, "TAP_BYTES", tap_bytes)
    monkeypatch.setattr(upsampled_conv, "FEW_VOXELS", 0)
    torch.manual_seed(0)
    x = torch.randn(2, 3, *coarse, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    up = F.interpolate(x, scale_factor=2, mode="trilinear")[:, :, : fine[0], : fine[1], : fine[2]]
    expected = F.conv3d(up, weight, padding=1)
    result = upsampled_conv.upsampled_conv(x, weight, fine)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    wanted, given = (gradients(r, [x, weight]) for r in (expected, result))
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-11)


def test_every_tap_sums_to_one_where_it_reads_inside() -> None:
    taps = tap_matrices(4, 8, torch.float64)
    assert torch.equal(
        taps.sum(2), torch.tensor([[0.0] + [1.0] * 7, [1.0] * 8, [1.0] * 7 + [0.0]], dtype=torch.float64)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("coarse", "fine"), SHAPES)
def test_joined_unit(dtype, coarse, fine) -> None:
    torch.manual_seed(0)
    unit = JoinedUnit(3, 6, 4).to(dtype)
    x = torch.randn(2, 3, *coarse, dtype=dtype, requires_grad=True)
    skips = [torch.randn(2, 3, *fine, dtype=dtype, requires_grad=True) for _ in range(2)]
    expected = plain(torch.cat([upsample(x, fine), *skips], 1), unit.conv.weight)
    result = unit(x, *skips, shape=fine)
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-11}
    torch.testing.assert_close(result, expected, **tolerance)
    if min(fine) > 1:
        inputs = [x, *skips, unit.conv.weight]
        wanted, given = (gradients(r, inputs) for r in (expected, result))
        for a, b in zip(given, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance["atol"] * 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("patch_bytes", [1, 2**23])
@pytest.mark.parametrize("unit_type", [ConvUnit, ImageUnit])
def test_units(monkeypatch, dtype, patch_bytes, unit_type) -> None:
    monkeypatch.setattr(conv_units, "PATCH_BYTES", patch_bytes)
    torch.manual_seed(0)
    unit = unit_type(2, 5).to(dtype)
    x = torch.rand(2, 2, 7, 6, 5, dtype=dtype)
    before = x.clone()
    result, expected = unit(x), plain(x, unit.conv.weight)
    atol = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(result, expected, rtol=0, atol=atol)
    assert torch.equal(x, before)
    wanted, given = (gradients(r, [unit.conv.weight])[0] for r in (expected, result))
    torch.testing.assert_close(given, wanted, rtol=0, atol=atol * 100)


def test_norm_act_keeps_a_constant_map_finite() -> None:
    x = torch.full((1, 2, 3, 3, 3), 7.0, requires_grad=True)
    result = conv_units.norm_act(x * 1.0)
    (gradient,) = gradients(result, [x])
    assert result.abs().max() < 1e-3
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_act_of_a_single_voxel_is_zero(dtype) -> None:
    assert not conv_units.norm_act(torch.tensor([1e6, 7.7, 0.1], dtype=dtype).view(1, 3, 1, 1, 1)).any()


def test_gradient_of_norm_act() -> None:
    x = (
        torch.randn(1, 2, 2, 3, 2, dtype=torch.float64)
        .contiguous(memory_format=torch.channels_last_3d)
        .requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda t: conv_units._NormAct.apply(t * 1.0), x)


def test_autocast() -> None:
    unit = JoinedUnit(3, 3, 4)
    x, skip = torch.randn(1, 3, 3, 3, 3), torch.randn(1, 3, 6, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = unit(x, skip, shape=(6, 6, 6))
    assert (result - unit(x, skip, shape=(6, 6, 6))).abs().max() < 0.1
