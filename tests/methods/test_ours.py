"""The prototype and contour method: its network, its loss terms, its settings."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regbench.api import Batch, Grid, Pair, Setting, Volume
from regbench.errors import BadValueError
from regbench_baselines.layers.blocks import pad_to_multiple
from regbench_methods.network import CrossBlock, Design, PrototypeContourNetwork
from regbench_methods.ours import Ours, window_for
from regbench_methods.ours_plus import OursPlus
from regbench_methods.polyaffine import polyaffine

SHAPE = (18, 16, 21)
LABELS = (1, 2, 4)
SMALL = {"channels": (4, 4, 8, 8), "contour_points": 32}


def label_map(seed: int) -> Tensor:
    values = torch.tensor([0, *LABELS], dtype=torch.uint8)
    coarse = torch.randint(0, 4, (1, 1, 3, 3, 3), generator=torch.Generator().manual_seed(seed)).float()
    return values[torch.nn.functional.interpolate(coarse, SHAPE)[0, 0].long()]


def batch(seed: int = 0) -> Batch:
    fixed, moving = torch.rand(2, 1, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    masks = [label_map(seed + side)[None, None] for side in (1, 2)]
    return Batch(fixed, moving, masks[0], masks[1], Setting(SHAPE, (2.0, 2.0, 3.0), LABELS), seed)


def network(method: Ours) -> PrototypeContourNetwork:
    torch.manual_seed(0)
    made = method.network(batch().setting)
    assert isinstance(made, PrototypeContourNetwork)
    return made


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, {"similarity", "smooth", "segmentation", "prototype", "contour"}),
        ({"contour": False}, {"similarity", "smooth", "segmentation", "prototype"}),
        ({"prototype": False, "contour": False}, {"similarity", "smooth", "segmentation"}),
    ],
)
def test_ablations_are_settings(settings: dict[str, bool], terms: set[str]) -> None:
    method = Ours(**SMALL, **settings)
    losses = method.losses(network(method), batch())
    assert set(losses) == terms
    assert set(method.training("paper").weights) == terms
    assert all(torch.isfinite(value) for value in losses.values())


def test_prototypes_find_their_organs_on_a_grid_of_any_size() -> None:
    """The network pads what its levels cannot halve; a batch that is padded beforehand has the same prototypes."""
    method, plain = Ours(**SMALL), batch()
    padded = [pad_to_multiple(v, 8) for v in (plain.fixed, plain.moving, plain.fixed_mask, plain.moving_mask)]
    setting = replace(plain.setting, shape=(24, 16, 24))
    terms = [method.losses(network(method), b)["prototype"] for b in (plain, Batch(*padded, setting, plain.seed))]
    torch.testing.assert_close(terms[0], terms[1])


def test_the_weights_are_those_of_section_4_2() -> None:
    assert Ours().training("paper").weights == {
        "similarity": 1.0, "smooth": 4.0, "segmentation": 1.0, "prototype": 1.0, "contour": 0.1
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"finest": 2},
        {"composition": True},
        {"position_bias": False},
        {"one_hot": False},
        {"shared_encoders": False},
        {"checkpointing": False},
        {"correlation": True},
        {"polyaffine": True},
    ],
    ids=str,
)
def test_every_parameter_learns_and_the_field_has_the_scans_size(settings: dict[str, bool]) -> None:
    method = Ours(**SMALL, **settings)
    net = network(method)
    # away from the start at the identity, where the heads' gradients are the only ones of any size
    for level in net.levels:
        torch.nn.init.normal_(level.head.weight, std=0.05)
    assert method.displacement(net, batch()).shape == (1, 3, *SHAPE)
    sum(method.losses(net, batch()).values()).backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # instance normalisation takes away the biases of the convolutions that feed the finest, unread level
    assert idle <= {name for name, _ in net.named_parameters() if "encoders" in name and settings.get("finest") == 2}


def test_training_starts_at_the_identity() -> None:
    method = Ours(**SMALL)
    assert method.displacement(network(method), batch()).abs().max() < 1e-2


def test_the_variant_starts_from_the_organs_motions() -> None:
    method, pairs = OursPlus(**SMALL, judged=False), batch()
    seen = pairs.fixed, pairs.moving, pairs.fixed_mask, pairs.moving_mask
    start = polyaffine(*(x[0, 0] for x in seen), LABELS, spacing_mm=(2.0, 2.0, 3.0))
    assert start.abs().max() > 0.5
    torch.testing.assert_close(method.displacement(network(method), pairs)[0], start, atol=1e-2, rtol=0)


def test_the_variant_starts_where_the_organs_went_only_if_the_scans_say_so() -> None:
    """Two balls that moved; the masks of the second pair say so of scans in which nothing did."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")).float()
    here, there = ((grid - torch.tensor([*c])[:, None, None, None]).norm(dim=0) < 5 for c in ((8, 8, 9), (10, 8, 12)))
    masks = [ball[None, None].to(torch.uint8).expand(2, -1, -1, -1, -1) for ball in (here, there)]
    moving = torch.stack([there, here])[:, None].float()
    pairs = Batch(here.float().expand(2, 1, *SHAPE), moving, *masks, Setting(SHAPE, (2.0, 2.0, 3.0), (1,)))
    method = OursPlus(**SMALL)
    torch.manual_seed(0)
    found = method.displacement(method.network(pairs.setting), pairs).detach()
    assert found[0, 0, 8, 8, 9] > 1
    assert found[0, 2, 8, 8, 9] > 1.5
    assert found[1].abs().max() < 1e-2


@pytest.mark.parametrize("start", [torch.zeros(1, 3, *SHAPE), torch.full((1, 3, *SHAPE), 1.5)])
def test_every_level_sees_the_moving_scan_where_the_start_has_brought_it(start: Tensor) -> None:
    """A start of zeros is no start; any other one changes what the levels see, and so what they add."""
    net, pairs = network(Ours(**SMALL)), batch()
    for level in net.levels:
        torch.nn.init.normal_(level.head.weight, std=0.05)
    inputs = pairs.moving, pairs.fixed, pairs.moving_mask, pairs.fixed_mask
    plain, added = net(*inputs), net.registered(*inputs, start).displacement - start
    assert torch.allclose(plain, added, atol=1e-5) == (not start.any())


@pytest.mark.parametrize("kind", [Ours, OursPlus])
def test_checkpointing_changes_nothing_but_memory(kind: type[Ours]) -> None:
    results = []
    for checkpointing in (False, True):
        method = kind(**SMALL, checkpointing=checkpointing)
        net = network(method)
        sum(method.losses(net, batch()).values()).backward()
        results.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for plain, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_the_masks_matter_and_so_does_the_direction() -> None:
    method = Ours(**SMALL)
    net = network(method)
    for level in net.levels:
        torch.nn.init.normal_(level.head.weight, std=0.05)
    u = method.displacement(net, batch())
    other = batch()
    without = replace(other, moving_mask=torch.zeros_like(label_map(0))[None, None])
    exchanged = Batch(other.moving, other.fixed, other.moving_mask, other.fixed_mask, other.setting)
    assert not torch.allclose(method.displacement(net, without), u, atol=1e-3)
    assert not torch.allclose(method.displacement(net, exchanged), u, atol=1e-3)


def test_the_querying_scan_keeps_its_residual() -> None:
    torch.manual_seed(0)
    block = CrossBlock(8, Design(window=(3, 3, 3)))
    for attention, mlp in zip(block.attentions, block.mlps, strict=True):
        torch.nn.init.zeros_(attention.proj.weight)
        torch.nn.init.zeros_(attention.proj.bias)
        torch.nn.init.zeros_(mlp[3].weight)
        torch.nn.init.zeros_(mlp[3].bias)
    query, context = torch.rand(2, 1, 4, 5, 6, 8)
    assert torch.equal(block(query, context), query)


def test_windows_follow_the_grid() -> None:
    assert window_for((160, 160, 160)) == (5, 5, 5)


def test_without_masks_it_says_what_to_do() -> None:
    grid = Grid.centred(SHAPE, (2.0, 2.0, 2.0))
    scan = Volume(torch.rand(SHAPE), grid)
    method = Ours(**SMALL)
    assert method.skip(Pair(scan, scan)) is not None
    with pytest.raises(BadValueError, match="--masks"):
        method.network(Setting(SHAPE, (2.0, 2.0, 2.0)))
    with pytest.raises(BadValueError, match="--masks"):
        method.losses(network(method), replace(batch(), fixed_mask=None))


def test_the_variant_has_every_part_of_the_plain_one() -> None:
    plain, more = (dict(network(kind(**SMALL)).named_parameters()) for kind in (Ours, OursPlus))
    assert {name: p.shape for name, p in plain.items()} == {
        name: p.shape for name, p in more.items() if ".match." not in name
    }
    assert len(more) == len(plain) + 4 * 6
    assert OursPlus(prototype=True).training("paper") == Ours().training("paper")
    assert set(OursPlus().training("paper").weights) == set(Ours(prototype=False).training("paper").weights)
