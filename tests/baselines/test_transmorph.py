import pytest
import torch

from regbench.api import Setting
from regbench.errors import BadValueError, UnknownNameError, WeightsError
from regbench_baselines.transmorph import OFFICIAL, VARIANTS, TransMorph, TransMorphNet, official_network

SETTING = Setting((32, 24, 40), (2.0, 2.0, 2.0))


def count(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def official_state(network: TransMorphNet) -> dict[str, torch.Tensor]:
    return {OFFICIAL.key_of(key): value for key, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("fields", "official", "unused"),
    [
        ({"variant": "tiny"}, 244_527, 0),
        ({"variant": "small"}, 11_757_195, 0),
        ({}, 46_771_251, 0),
        ({"window": (5, 5, 5)}, 46_735_539, 0),
        ({"window": (2, 2, 2)}, 46_690_611, 0),
        ({"variant": "large"}, 108_343_907, 0),
        ({"conv_skips": False}, 46_702_131, 27 * 2 * (48 + 16)),
        ({"transformer_skips": False}, 41_545_779, 2 * (96 + 192 + 384)),
        ({"transformer_skips": False, "conv_skips": False}, 41_476_659, 27 * 2 * (48 + 16) + 2 * (96 + 192 + 384)),
        ({"absolute_position": "learned"}, 63_630_387, 0),
        ({"absolute_position": "sinusoidal"}, 46_771_251, 0),
        ({"position_bias": False}, 46_771_251, 9 * 11 * 13 * (4 * 4 + 6 * 8)),
        ({"half_resolution": True}, 46_556_979, 27 * 2 * 16),
        ({"half_resolution": True, "variant": "large"}, 107_949_923, 27 * 2 * 16),
    ],
)
def test_parameters_are_counted_as_official_less_those_that_are_never_used(fields, official, unused) -> None:
    with torch.device("meta"):
        network = TransMorph(**{"window": (5, 6, 7), **fields}).build(SETTING)
    assert count(network) == official - unused


@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 18, 47), (48, 48, 16), (64, 64, 8), (7, 5, 3)])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"half_resolution": True, "absolute_position": "sinusoidal"},
        {"conv_skips": False, "transformer_skips": False, "absolute_position": "learned", "position_bias": False},
    ],
)
def test_any_size(shape, fields) -> None:
    torch.manual_seed(0)
    network = TransMorph(variant="tiny", **fields).build(Setting(shape, (1.0, 1.0, 1.0))).train()
    moving, fixed = torch.rand(2, 1, 1, *shape)
    field = network(moving, fixed)
    assert field.shape == (1, 3, *shape)
    assert field.abs().max() < 0.1
    field.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_window_larger_than_the_deepest_maps() -> None:
    network = TransMorph(variant="tiny", window=(7, 7, 7)).build(SETTING).eval()
    moving, fixed = torch.rand(2, 1, 1, 33, 20, 9)
    assert network(moving, fixed).isfinite().all()


def test_masked_windows_are_the_official_ones_where_nothing_is_padded_or_thin() -> None:
    torch.manual_seed(0)
    masked, official = (
        TransMorph(variant="tiny", window=(2, 3, 2), window_rules=rules).build(SETTING).double().eval()
        for rules in ("masked", "official")
    )
    official.load_state_dict(masked.state_dict())
    images = torch.rand(2, 1, 1, 128, 96, 64, dtype=torch.float64)
    with torch.no_grad():
        stages = [network.encoder(torch.cat([*images], 1)) for network in (masked, official)]
    # Along the third axis of the coarsest map one window covers all, and only the official one is shifted there.
    for a, b in zip(*(stage[:3] for stage in stages), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_checkpointing_changes_no_number() -> None:
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = TransMorph(variant="tiny", checkpointing=checkpointing).build(SETTING).train()
        moving, fixed = torch.rand(2, 1, 1, 32, 24, 40)
        torch.manual_seed(1)
        results.append(torch.autograd.grad(network(moving, fixed).sum(), list(network.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_autocast_gives_a_field_in_full_precision() -> None:
    network = TransMorph(variant="tiny").build(SETTING)
    moving, fixed = torch.rand(2, 1, 1, 32, 24, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        field = network(moving, fixed)
        assert field.dtype == torch.float32
        field.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_official_weights_of_the_half_resolution_variant_are_recognised() -> None:
    config = {"embed_dim": 6, "num_heads": (2, 2, 4, 4), "window_size": (2, 2, 2)}
    network = TransMorph(variant="tiny", window=(2, 2, 2), half_resolution=True).build(SETTING)
    state = {**official_state(network), "c2.0.weight": torch.zeros(16, 2, 3, 3, 3)}
    loaded = official_network(state, config)
    assert loaded.half_resolution
    with torch.no_grad():
        assert loaded.eval()(*torch.rand(2, 1, 1, 32, 24, 40)).shape == (1, 3, 32, 24, 40)


def test_official_errors_name_the_culprit() -> None:
    state = official_state(TransMorph(variant="tiny", window=(2, 2, 2)).build(SETTING))
    config = {"embed_dim": 6, "num_heads": [2, 2, 4, 4], "window_size": [2, 2, 2]}
    with pytest.raises(UnknownNameError, match="did you mean 'embed_dim'"):
        official_network(state, {**config, "embed_dims": 6})
    with pytest.raises(BadValueError, match="drop_rate is implemented at 0 only"):
        official_network(state, {**config, "drop_rate": 0.1})
    with pytest.raises(WeightsError, match=r"1 missing: transformer\.absolute_pos_embed"):
        official_network(state, {**config, "ape": True})
    official_network(state, {**config, "spe": True, "pos_embed_method": "relative"})
    with pytest.raises(WeightsError, match="relative_position_bias_table"):
        official_network(state, {**config, "window_size": [3, 2, 2]})
    state["odd.weight"] = state.pop("reg_head.0.weight")
    with pytest.raises(WeightsError, match=r"1 missing: reg_head\.0\.weight; 1 unexpected: odd\.weight"):
        official_network(state, config)
    with pytest.raises(BadValueError, match="four stages"):
        official_network(state, {**config, "depths": (2, 2), "num_heads": (2, 2)})


def test_recipes() -> None:
    assert TransMorph().training("quick").optimisation.amsgrad is False
    official = TransMorph(recipe="official").training("paper")
    assert official.both_directions
    assert official.epochs == 500
    assert (official.optimisation.amsgrad, official.optimisation.schedule) == (True, "polynomial")
    assert TransMorph(recipe="official").training("quick").steps == TransMorph().training("quick").steps


def test_variants_build_with_their_own_depths() -> None:
    assert VARIANTS["large"].depths == (2, 2, 12, 2)
