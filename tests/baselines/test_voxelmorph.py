import pytest
import torch
from safetensors.torch import save_file

from regbench.api import Batch, Setting
from regbench.errors import BadValueError, UnknownNameError, WeightsError
from regbench.losses import gradient_penalty, mse
from regbench.registry import configure
from regbench.spatial import warp
from regbench_baselines.objective import COMMON_WEIGHTS, objective
from regbench_baselines.voxelmorph import Integration, VoxelMorph, VoxelMorphNet, official_network

SMALL = {"encoder": (4, 6), "decoder": (6, 5, 4, 4)}


def batch(*shape: int, masks: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)
    fixed, moving = torch.rand(2, 1, 1, *shape, generator=generator)
    labels = torch.randint(0, 3, (2, 1, 1, *shape), generator=generator, dtype=torch.uint8)
    setting = Setting((shape[0], shape[1], shape[2]), (1.0, 1.0, 1.0), (1, 2) if masks else ())
    return Batch(fixed, moving, labels[0] if masks else None, labels[1] if masks else None, setting)


def lively(network: VoxelMorphNet) -> VoxelMorphNet:
    """The network with a head that moves things."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("shape", [(16, 16, 16), (9, 14, 3), (1, 5, 8)])
@pytest.mark.parametrize("steps", [0, 5])
def test_any_size_starts_at_the_identity(shape, steps) -> None:
    b = batch(*shape)
    network = VoxelMorph(integration_steps=steps, **SMALL).network(b.setting)
    u = network(b.moving, b.fixed)
    assert u.shape == (1, 3, *shape)
    assert u.abs().max() < 1e-2


def test_default_features_are_those_of_the_authors() -> None:
    network = VoxelMorph().network(Setting((16, 16, 16), (1.0, 1.0, 1.0)))
    assert sum(p.numel() for p in network.parameters()) == 327_331


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("steps", [0, 3])
def test_checkpointing_gives_the_same_field_and_gradients(half, steps) -> None:
    b = batch(68, 6, 9)
    fields, gradients = [], []
    for checkpointing in (False, True):
        network = VoxelMorphNet(
            SMALL["encoder"],
            SMALL["decoder"],
            integration=Integration(steps=steps),
            half_resolution=half,
            checkpointing=checkpointing,
        )
        u = lively(network)(b.moving, b.fixed)
        u.square().mean().backward()
        fields.append(u.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert fields[0].std() > 1e-2
    torch.testing.assert_close(*fields, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_integration_changes_the_field_and_not_the_velocity() -> None:
    b = batch(16, 16, 16)
    plain = lively(VoxelMorphNet(**SMALL))
    integrated = lively(VoxelMorphNet(**SMALL, integration=Integration(steps=7, downsize=1)))
    velocity = plain(b.moving, b.fixed)
    assert torch.equal(velocity, integrated.velocity(b.moving, b.fixed))
    assert not torch.allclose(velocity, integrated(b.moving, b.fixed), atol=1e-2)


def test_without_integration_the_downsize_is_ignored() -> None:
    b = batch(16, 16, 16)
    one, two = (lively(VoxelMorphNet(**SMALL, integration=Integration(steps=0, downsize=d))) for d in (1, 2))
    assert torch.equal(one(b.moving, b.fixed), two(b.moving, b.fixed))


def test_common_losses_are_the_shared_objective() -> None:
    b = batch(16, 16, 16, masks=True)
    method = VoxelMorph(integration_steps=3, **SMALL)
    network = lively(method.network(b.setting))
    found, expected = method.losses(network, b), objective(network(b.moving, b.fixed), b)
    assert found.keys() == expected.keys() == COMMON_WEIGHTS.keys()
    for term in found:
        torch.testing.assert_close(found[term], expected[term])
    assert "segmentation" not in method.losses(network, batch(16, 16, 16))


def test_official_losses_penalise_the_velocity() -> None:
    b = batch(16, 16, 16)
    method = VoxelMorph(recipe="official", integration_steps=3, **SMALL)
    network = lively(method.network(b.setting))
    found = method.losses(network, b)
    velocity = network.velocity(b.moving, b.fixed)
    assert velocity.shape == (1, 3, 8, 8, 8)
    torch.testing.assert_close(found["smooth"], 2 * gradient_penalty(velocity))
    torch.testing.assert_close(found["similarity"], mse(b.fixed, warp(b.moving, network(b.moving, b.fixed))))


def test_recipes() -> None:
    common, official = VoxelMorph().training("paper"), VoxelMorph(recipe="official").training("paper")
    assert common.weights == COMMON_WEIGHTS
    assert (common.epochs, common.steps, common.optimisation.learning_rate) == (500, None, 1e-4)
    assert (official.steps, official.weights["smooth"]) == (150_000, 0.01)
    quick = VoxelMorph(recipe="official").training("quick")
    assert quick.steps == VoxelMorph().training("quick").steps
    assert quick.optimisation == official.optimisation


def test_settings_as_text() -> None:
    method = configure(VoxelMorph, {"integration_steps": "7", "encoder": "8,32,32,32", "recipe": "official"})
    assert method == VoxelMorph(integration_steps=7, encoder=(8, 32, 32, 32), recipe="official")
    with pytest.raises(BadValueError, match="recipe"):
        configure(VoxelMorph, {"recipe": "mine"})


def official_state() -> dict[str, torch.Tensor]:
    key_of = VoxelMorph.official.key_of
    return {key_of(key): torch.rand_like(value) for key, value in VoxelMorphNet(**SMALL).state_dict().items()}


def test_official_features_and_unknown_or_unimplemented_options() -> None:
    features = [list(SMALL["encoder"]), list(SMALL["decoder"])]
    network = official_network(official_state(), {"inshape": (8, 8, 8), "nb_unet_features": features, "int_steps": 0})
    assert network(torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)
    with pytest.raises(UnknownNameError, match="int_step"):
        official_network(official_state(), {"int_step": 0})
    with pytest.raises(BadValueError, match="use_probs"):
        official_network(official_state(), {"use_probs": True})
    with pytest.raises(WeightsError, match=r"missing: unet_model\.encoder\.2\.0\.main\.weight"):
        official_network(official_state(), {})


@pytest.mark.parametrize("names", ["own", "official"])
def test_training_starts_from_a_weights_file(tmp_path, names) -> None:
    state = official_state()
    source = official_network(state, {"nb_unet_features": list(SMALL.values()), "int_steps": 0})
    save_file(dict(source.state_dict()) if names == "own" else state, tmp_path / "w.safetensors")
    method = configure(VoxelMorph, {"weights": str(tmp_path / "w.safetensors"), **SMALL})
    b = batch(8, 8, 8)
    assert torch.equal(method.network(b.setting)(b.moving, b.fixed), source(b.moving, b.fixed))


def test_a_decoder_that_is_too_short() -> None:
    with pytest.raises(BadValueError, match="decoder needs more entries"):
        VoxelMorphNet((4, 4), (4, 4))
