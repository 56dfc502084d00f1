from collections import Counter
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regbench.api import Batch, PairId, Recipe, Setting
from regbench.engine.training.sampler import Sampler
from regbench.engine.training.train import flipped


@given(count=st.integers(1, 12), batch_size=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_every_epoch_holds_every_pair_once(toys: ModuleType, count: int, batch_size: int, seed: int) -> None:
    pairs = toys.pairs(count)
    sampler = Sampler(pairs, seed, batch_size)
    epochs = 3
    drawn = [pair for step in range(-(-epochs * count // batch_size)) for pair in sampler.draw(step).pairs]
    for epoch in range(epochs):
        assert Counter(drawn[epoch * count : (epoch + 1) * count]) == Counter(pairs)


@given(step=st.integers(0, 10_000), seed=st.integers(0, 99))
def test_a_draw_depends_on_seed_and_step_only(toys: ModuleType, step: int, seed: int) -> None:
    pairs = toys.pairs(7)
    sampler = Sampler(pairs, seed, 2, both_directions=True, flips=True)
    for other in range(5):
        sampler.draw(other)
    torch.manual_seed(step)
    assert sampler.draw(step) == Sampler(pairs, seed, 2, both_directions=True, flips=True).draw(step)


def test_the_order_differs_from_epoch_to_epoch_and_from_seed_to_seed(toys: ModuleType) -> None:
    pairs = toys.pairs(20)
    orders = [
        tuple(Sampler(pairs, seed).draw(epoch * 20 + n).pairs[0] for n in range(20))
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len(set(orders)) == len(orders)
    assert tuple(pairs) not in orders


def test_both_directions_take_turns(toys: ModuleType) -> None:
    sampler = Sampler(toys.pairs(4), 0, 2, both_directions=True, flips=True)
    plain = Sampler(toys.pairs(4), 0, 2)
    for turn in range(8):
        there, back = sampler.draw(2 * turn), sampler.draw(2 * turn + 1)
        assert there.pairs == plain.draw(turn).pairs
        assert back.pairs == tuple(PairId(pair.moving, pair.fixed) for pair in there.pairs)
        assert back.flips == there.flips
        assert back.seed != there.seed


def test_flips_are_fair_and_off_unless_asked_for(toys: ModuleType) -> None:
    recipe = Recipe(weights={}, flips=True)
    draws = [Sampler.of(recipe, toys.pairs(3), 1).draw(step).flips for step in range(1600)]
    counts = Counter(draws)
    assert len(counts) == 8
    assert all(abs(count - 200) < 60 for count in counts.values())
    assert Sampler(toys.pairs(3), 1).draw(0).flips == ()


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_a_flip_turns_scans_and_masks_alike(axes: tuple[int, ...]) -> None:
    shape = (2, 1, 4, 3, 5)
    batch = Batch(
        fixed=torch.rand(shape),
        moving=torch.rand(shape),
        fixed_mask=torch.randint(0, 9, shape, dtype=torch.uint8),
        moving_mask=torch.randint(0, 9, shape, dtype=torch.uint8),
        setting=Setting((4, 3, 5), (1.0, 1.0, 1.0), (1,)),
        seed=3,
    )
    turned = flipped(batch, axes)
    index = tuple(slice(None, None, -1) if axis in axes else slice(None) for axis in range(3))
    for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
        before, after = getattr(batch, name).numpy(), getattr(turned, name).numpy()
        assert (after == before[(slice(None), slice(None), *index)]).all()
    assert (turned.seed, turned.setting) == (batch.seed, batch.setting)


def test_a_flip_without_masks() -> None:
    volume = torch.rand(1, 1, 2, 2, 2)
    assert flipped(Batch(volume, volume, None, None, Setting((2, 2, 2), (1.0, 1.0, 1.0))), (0,)).fixed_mask is None
