"""Which pairs a training step sees, and how: a pure function of the seed and the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from regbench.api import PairId, Recipe
from regbench.engine.seeds import derive


@dataclass(frozen=True, slots=True)
class Draw:
    """What one step sees.

    Attributes:
        pairs: one for each place of the batch, direction included.
        flips: the axes (0, 1, 2) along which both scans are turned around.
        seed: for whatever else the step draws.
    """

    pairs: tuple[PairId, ...]
    flips: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Sampler:
    """Draws pairs in shuffled epochs, each pair once an epoch; a batch may reach into the next epoch.

    Attributes:
        pairs: what is drawn from.
        seed: the run's.
        batch_size: pairs a step.
        both_directions: every batch is drawn once as it stands, and in the next step the other way round.
        flips: whether axes are turned around, each with probability one half.
    """

    pairs: Sequence[PairId]
    seed: int
    batch_size: int = 1
    both_directions: bool = False
    flips: bool = False

    @classmethod
    def of(cls, recipe: Recipe, pairs: Sequence[PairId], seed: int) -> "Sampler":
        """The sampler that a recipe asks for."""
        return cls(pairs, seed, recipe.batch_size, recipe.both_directions, recipe.flips)

    def draw(self, step: int) -> Draw:
        """What step number `step` (from 0) sees."""
        turn, exchanged = divmod(step, 2) if self.both_directions else (step, 0)
        first = turn * self.batch_size
        pairs = [self._at(place) for place in range(first, first + self.batch_size)]
        if exchanged:
            pairs = [PairId(pair.moving, pair.fixed) for pair in pairs]
        bits = derive(self.seed, "flips", turn) if self.flips else 0
        flips = tuple(axis for axis in range(3) if bits >> axis & 1)
        return Draw(tuple(pairs), flips, derive(self.seed, "step", step))

    def _at(self, place: int) -> PairId:
        epoch, position = divmod(place, len(self.pairs))
        return self.pairs[_order(len(self.pairs), self.seed, epoch)[position]]


@lru_cache(maxsize=8)
def _order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(derive(seed, "epoch", epoch))
    return tuple(torch.randperm(count, generator=generator).tolist())
