import numpy as np
import pytest
import torch
from monai.losses import HausdorffDTLoss
from scipy.ndimage import distance_transform_edt

from regbench.api import Batch, Grid, Pair, Setting, Volume
from regbench.errors import BadValueError, UnknownNameError, WeightsError
from regbench.spatial import warp
from regbench_baselines.objective import COMMON_WEIGHTS, objective
from regbench_methods.ours_released import CNNAttentionNet, OursReleased, hausdorff, official_network


def batch(*shape: int, labels: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    fixed, moving = torch.rand(2, 1, 1, *shape, generator=generator)
    blocks = torch.rand(2, 1, 3, 3, 3, generator=generator) * (labels + 1)
    masks = torch.nn.functional.interpolate(blocks, size=shape).to(torch.uint8)[:, None]
    setting = Setting((shape[0], shape[1], shape[2]), (1.0, 1.0, 1.0), tuple(range(1, labels + 1)))
    return Batch(fixed, moving, masks[0], masks[1], setting)


def lively(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


@pytest.mark.parametrize("shape", [(8, 8, 8), (13, 6, 20), (24, 24, 3)])
def test_any_size_starts_at_the_identity(shape) -> None:
    b = batch(*shape)
    method = OursReleased()
    network = method.network(b.setting)
    u = method.displacement(network, b)
    assert u.shape == (1, 3, *shape)
    assert u.abs().max() < 1e-2
    losses = method.losses(network, b)
    assert losses.keys() == method.training("quick").weights.keys()
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_masks_matter_and_are_needed() -> None:
    b = batch(16, 16, 16)
    method = OursReleased()
    network = lively(method.network(b.setting))
    other = Batch(b.fixed, b.moving, b.moving_mask, b.fixed_mask, b.setting)
    assert not torch.allclose(method.displacement(network, b), method.displacement(network, other), atol=1e-3)
    grid = Grid.centred((8, 8, 8), (1.0, 1.0, 1.0))
    with pytest.raises(BadValueError, match="--masks NAME"):
        method.register(Pair(Volume(torch.rand(8, 8, 8), grid), Volume(torch.rand(8, 8, 8), grid)))


def test_register_sees_the_masks_of_the_pair() -> None:
    b = batch(8, 8, 8)
    grid = Grid.centred((8, 8, 8), (1.0, 1.0, 1.0))
    volumes = [Volume(x[0, 0], grid) for x in (b.fixed, b.moving, b.fixed_mask, b.moving_mask)]
    field = OursReleased().register(Pair(*volumes, labels=(1, 2, 3)))
    assert field.displacement.shape == (3, 8, 8, 8)


def test_recipes_and_weights() -> None:
    released = OursReleased(contour=0.2).training("paper")
    assert released.weights == {"similarity": 4.0, "smooth": 1.0, "segmentation": 1.0, "contour": 0.2}
    assert (released.epochs, released.batch_size, released.optimisation.learning_rate) == (500, 1, 1e-4)
    assert OursReleased(recipe="common").training("paper").weights == COMMON_WEIGHTS


def test_the_common_recipe_is_the_objective_of_the_baselines() -> None:
    b = batch(8, 8, 8)
    method = OursReleased(recipe="common")
    network = lively(method.network(b.setting))
    found, expected = method.losses(network, b), objective(method.displacement(network, b), b)
    assert found.keys() == expected.keys()
    for term in found:
        torch.testing.assert_close(found[term], expected[term])


def test_hausdorff_is_the_formula_and_leaves_out_the_first_label() -> None:
    b = batch(12, 10, 9)
    u = torch.randn(1, 3, 12, 10, 9, generator=torch.Generator().manual_seed(3))
    values = []
    for label in (2, 3):
        fixed = (b.fixed_mask == label).float()
        moved = warp((b.moving_mask == label).float(), u)
        distances = []
        for mask in (fixed[0, 0].numpy() > 0.5, moved[0, 0].numpy() > 0.5):
            both = mask.any() and not mask.all()
            distances.append(distance_transform_edt(mask) + distance_transform_edt(~mask) if both else 0 * mask)
        squared = ((fixed - moved) ** 2)[0, 0].numpy()
        values.append((squared * (distances[0] ** 2 + distances[1] ** 2)).mean())
    assert hausdorff(u, b).item() == pytest.approx(np.mean(values), rel=1e-5)
    assert hausdorff(u, b) > 0


def test_hausdorff_of_organs_apart_is_that_of_whole_volumes() -> None:
    masks = torch.zeros(2, 2, 1, 20, 18, 16, dtype=torch.uint8)
    masks[0, 0, 0, 3:8, 4:9, 5:9], masks[1, 0, 0, 5:10, 4:9, 5:8] = 2, 2
    masks[0, 0, 0, 12:, 10:, 11:], masks[1, 0, 0, 14:, 9:, 10:] = 5, 5  # at the border of the grid
    masks[0, 0, 0, 1:3, 14:16, 2:4] = 7  # in the fixed scan alone
    masks[0, 1], masks[1, 1, 0, 9:11, 9:12, 2:9] = 2, 2  # a scan that is nothing else
    scans = torch.rand(2, 1, 20, 18, 16)
    b = Batch(scans, scans, masks[0], masks[1], Setting((20, 18, 16), (1.0,) * 3, (1, 2, 5, 7, 9)))
    fields = [torch.randn(2, 3, 20, 18, 16, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    numbers = torch.tensor((2, 5, 7, 9)).view(1, -1, 1, 1, 1)
    fixed, moving = ((mask == numbers).float() for mask in (b.fixed_mask, b.moving_mask))
    losses = [
        hausdorff(fields[0].requires_grad_(), b),
        HausdorffDTLoss(alpha=2.0, include_background=True)(warp(moving, fields[1].requires_grad_()), fixed),
    ]
    assert losses[0] > 1
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(*both)[0] for both in zip(losses, fields, strict=True)))


def test_hausdorff_pulls_a_shifted_box_back() -> None:
    mask = torch.zeros(2, 1, 1, 12, 12, 12, dtype=torch.uint8)
    mask[0, :, :, 4:8, 4:8, 4:8] = 2
    mask[1, :, :, 6:10, 4:8, 4:8] = 2
    b = Batch(
        torch.rand(1, 1, 12, 12, 12),
        torch.rand(1, 1, 12, 12, 12),
        mask[0],
        mask[1],
        Setting((12,) * 3, (1.0,) * 3, (1, 2)),
    )
    u = torch.full((1, 3, 12, 12, 12), 0.1, requires_grad=True)
    hausdorff(u, b).backward()
    along = u.grad[0].sum((1, 2, 3))
    assert along[0] < 0
    assert along[0].abs() > 5 * along[1:].abs().max()


def test_without_labels_beyond_the_first_there_is_nothing_to_measure() -> None:
    b = batch(8, 8, 8, labels=1)
    u = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
    loss = hausdorff(u, b)
    loss.backward()
    assert loss == 0
    assert not u.grad.any()


def test_checkpointing_gives_the_same_field_and_gradients() -> None:
    b = batch(16, 8, 9)
    fields, gradients = [], []
    for checkpointing in (False, True):
        method = OursReleased(checkpointing=checkpointing)
        network = lively(method.network(b.setting))
        u = method.displacement(network, b)
        u.square().mean().backward()
        fields.append(u.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*fields)
    torch.testing.assert_close(*gradients)


def test_official_faults_are_named() -> None:
    state = {OursReleased.official.key_of(key): value for key, value in CNNAttentionNet().state_dict().items()}
    official_network(state, {"window_size": (5, 5, 5)}, legacy_windows=True)
    with pytest.raises(UnknownNameError, match="window_size"):
        official_network(state, {"windows": (5, 5, 5)})
    with pytest.raises(WeightsError, match=r"1 unexpected: fusion5\.lwca\.x"):
        official_network({**state, "fusion5.lwca.x": torch.zeros(1)}, {})
    del state["fusion1.reg_head_S.0.bias"]
    with pytest.raises(WeightsError, match=r"1 missing: fusion1\.reg_head_S\.0\.bias"):
        official_network(state, {})
