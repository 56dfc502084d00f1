import torch

from regbench.api import Grid, Pair, Volume
from regbench_baselines.identity import Identity


def test_nothing_moves() -> None:
    grid = Grid.centred((5, 6, 7), (1.0, 2.0, 3.0))
    pair = Pair(Volume(torch.rand(5, 6, 7), grid), Volume(torch.rand(5, 6, 7), grid))
    field = Identity().register(pair)
    assert field.grid is grid
    assert torch.equal(field.displacement, torch.zeros(3, 5, 6, 7))
