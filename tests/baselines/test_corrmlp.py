import pytest
import torch

from benchmarks.plain.corrmlp import correlation as plain_correlation
from benchmarks.plain.corrmlp import window_mlp as plain_window_mlp
from regbench.api import Batch, Setting
from regbench.errors import BadValueError, UnknownNameError, WeightsError
from regbench_baselines.corrmlp import CorrMLP, CorrMLPNet, official_network
from regbench_baselines.layers.correlation import correlation, with_correlation
from regbench_baselines.layers.window_mlp import WindowMLP, mix_windows

SMALL = {"encoder_channels": 4, "decoder_channels": 8}


def batch(*shape: int) -> Batch:
    fixed, moving = torch.rand(2, 1, 1, *shape, generator=torch.Generator().manual_seed(0))
    return Batch(fixed, moving, None, None, Setting((shape[0], shape[1], shape[2]), (1.0, 1.0, 1.0)))


def lively(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 1, 1), (2, 30, 40)])
@pytest.mark.parametrize("channels", [3, 200])
def test_correlation_and_its_gradient(shape, channels) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 2, channels, *shape, generator=generator, dtype=torch.float64).unbind()
    a.requires_grad_()
    b.requires_grad_()
    found, expected = with_correlation(a, b), torch.cat([a, plain_correlation(a, b), b], 1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(correlation(a, b), plain_correlation(a, b))
    direction = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    for ours, plain in zip(
        torch.autograd.grad((found * direction).sum(), (a, b)),
        torch.autograd.grad((expected * direction).sum(), (a, b)),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_correlation_of_maps_of_two_types_is_of_the_wider() -> None:
    a, b = torch.randn(1, 2, 3, 3, 3, dtype=torch.bfloat16), torch.randn(1, 2, 3, 3, 3)
    assert with_correlation(a, b).dtype == torch.float32


@pytest.mark.parametrize("shape", [(15, 7, 6), (2, 3, 9), (1, 1, 1)])
def test_window_mlp_is_the_published_one(shape) -> None:
    m = lively(WindowMLP(8)).double()
    x = torch.randn(2, *shape, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    found, expected = m(x), plain_window_mlp(m, x)
    assert (expected - x).std() > 1e-2
    torch.testing.assert_close(found, expected)
    inputs = (x, *m.parameters())
    for ours, plain in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_windows_are_mixed_voxel_by_voxel() -> None:
    v = torch.arange(2 * 4 * 2.0).view(1, 2, 4, 2, 1)
    reverse = torch.eye(8).flip(0)
    mixed = mix_windows(v, 2, reverse, torch.zeros(8, 1))
    for start in (0, 2):
        window = v[0, :, start : start + 2, :, 0]
        assert torch.equal(mixed[0, :, start : start + 2, :, 0], window.flip(0, 1, 2))


@pytest.mark.parametrize("shape", [(8, 8, 8), (13, 6, 20), (24, 24, 3), (1, 5, 8)])
def test_any_size_starts_at_the_identity(shape) -> None:
    b = batch(*shape)
    method = CorrMLP(**SMALL)
    network = method.network(b.setting)
    u = network(b.moving, b.fixed)
    assert u.shape == (1, 3, *shape)
    assert u.abs().max() < 1e-2
    sum(method.losses(network, b).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_checkpointing_gives_the_same_field_and_gradients() -> None:
    b = batch(16, 8, 9)
    fields, gradients = [], []
    for checkpointing in (False, True):
        network = lively(CorrMLPNet(4, 8, checkpointing=checkpointing))
        u = network(b.moving, b.fixed)
        u.square().mean().backward()
        fields.append(u.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert fields[0].std() > 1e-2
    assert torch.equal(*fields)
    torch.testing.assert_close(*gradients)


def test_official_options() -> None:
    state = {CorrMLP.official.key_of(key): value for key, value in CorrMLPNet(4, 8).state_dict().items()}
    options = {"enc_channels": 4, "dec_channels": 8}
    assert not official_network(state, {**options, "use_checkpoint": False}).cross[0].checkpointing
    assert official_network({**state, "SpatialTransformer.grid": torch.zeros(1)}, options).cross[0].checkpointing
    with pytest.raises(UnknownNameError, match="did you mean 'enc_channels'"):
        official_network(state, {"enc_channel": 4})
    with pytest.raises(BadValueError, match="in_channels"):
        official_network(state, {**options, "in_channels": 2})
    with pytest.raises(WeightsError, match=r"1 unexpected: Decoder\.mlp_24\.Conv\.bias"):
        official_network({**state, "Decoder.mlp_24.Conv.bias": torch.zeros(1)}, options)


def test_recipes() -> None:
    official = CorrMLP(recipe="official").training("paper")
    assert (official.steps, official.weights["smooth"], official.optimisation.amsgrad) == (100_000, 1.0, False)
    assert CorrMLP().training("paper").weights["smooth"] == 4.0
