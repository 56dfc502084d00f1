import pytest
import torch

from regbench.api import Setting
from regbench.errors import BadValueError, WeightsError
from regbench_baselines.layers.swin import SwinOptions
from regbench_baselines.transmatch import OFFICIAL, TransMatch, TransMatchNet, official_network

SETTING = Setting((32, 24, 40), (2.0, 2.0, 2.0))
SMALL = TransMatch(channels=8)


def test_parameters_are_counted_as_official_less_those_that_are_never_used() -> None:
    live = 112_212_051 - 41_501_760
    for window, official in [((2, 2, 2), 112_212_051), ((5, 5, 5), 112_324_371), ((5, 6, 5), 112_350_291)]:
        with torch.device("meta"):
            network = TransMatch(window=window).build(SETTING)
        rows = (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1) - 27
        # Each further row of the tables: the official encoders, of which one is unused, have 4 heads in four blocks and
        # 8 in six; cross-attention has 4 in eight.
        encoder, cross = 4 * 4 + 6 * 8, 8 * 4
        assert official == 112_212_051 + rows * (2 * encoder + cross)
        assert sum(p.numel() for p in network.parameters()) == live + rows * (encoder + cross)


@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 18, 47), (48, 48, 16), (7, 5, 3)])
def test_any_size(shape) -> None:
    torch.manual_seed(0)
    network = TransMatch(channels=8).build(Setting(shape, (1.0, 1.0, 1.0))).train()
    moving, fixed = torch.rand(2, 1, 1, *shape)
    field = network(moving, fixed)
    assert field.shape == (1, 3, *shape)
    assert field.abs().max() < 0.1
    field.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_batch_is_its_pairs_one_by_one() -> None:
    torch.manual_seed(0)
    network = SMALL.build(SETTING).double().eval()
    torch.nn.init.normal_(network.head.weight)
    moving, fixed = torch.rand(2, 2, 1, 32, 24, 40, dtype=torch.float64)
    with torch.no_grad():
        together = network(moving, fixed)
        alone = torch.cat([network(m[None], f[None]) for m, f in zip(moving, fixed, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-11)


def test_checkpointing_changes_no_number() -> None:
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = TransMatch(channels=8, checkpointing=checkpointing).build(SETTING).train()
        moving, fixed = torch.rand(2, 1, 1, 32, 24, 40)
        torch.manual_seed(1)
        results.append(torch.autograd.grad(network(moving, fixed).sum(), list(network.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_autocast_gives_a_field_in_full_precision() -> None:
    network = SMALL.build(SETTING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        field = network(*torch.rand(2, 1, 1, 32, 24, 40))
        assert field.dtype == torch.float32
        field.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_official_errors_name_the_culprit() -> None:
    network = TransMatch(channels=8, window=(2, 2, 2)).build(SETTING)
    state = {OFFICIAL.key_of(key): value for key, value in network.state_dict().items()}
    config = {"embed_dim": 8, "window_size": [2, 2, 2]}
    official_network({**state, "fixed_lwsa.c1.0.weight": torch.zeros(1)}, config)
    with pytest.raises(WeightsError, match=r"1 unexpected: up5\.conv1\.0\.weight"):
        official_network({**state, "up5.conv1.0.weight": torch.zeros(1)}, config)
    with pytest.raises(BadValueError, match="if_convskip is implemented at True only"):
        official_network(state, {**config, "if_convskip": False})
    with pytest.raises(BadValueError, match="four stages"):
        TransMatchNet(SwinOptions(depths=(2, 2), heads=(2, 2)))


def test_recipes() -> None:
    official = TransMatch(recipe="official").training("paper")
    assert official.both_directions
    assert (official.epochs, official.weights["smooth"]) == (1400, 4.0)
    assert (official.optimisation.learning_rate, official.optimisation.amsgrad) == (4e-4, True)
