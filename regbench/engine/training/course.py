"""How a network is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from regbench.api import Optimisation


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a network is trained. Either `steps` or `budget_seconds` is given.

    Attributes:
        weights: loss term → weight.
        optimisation: the optimiser and its schedule.
        steps: optimiser steps in all.
        budget_seconds: of training, over all sittings; validation and checkpoints do not count.
        seed: torch's generators are seeded with it and the step's number before every step.
        device: where the network is.
        precision: "bfloat16" is torch's autocast.
        validations: how often the network is validated, evenly over the training, the last time at its end.
        checkpoint_seconds: of a checkpoint to the next, or longer where writing takes long; 0: one after every step.
    """

    weights: Mapping[str, float]
    optimisation: Optimisation
    steps: int | None = None
    budget_seconds: float | None = None
    seed: int = 0
    device: torch.device
    precision: Literal["float32", "bfloat16"] = "float32"
    validations: int = 20
    checkpoint_seconds: float = 30.0

    def share_done(self, step: int, seconds: float) -> float:
        """How much of the training is done, from 0 to 1."""
        if self.budget_seconds is not None:
            return min(1.0, seconds / self.budget_seconds)
        return min(1.0, step / self.steps) if self.steps else 1.0

    def learning_rate(self, share_done: float) -> float:
        """The schedule's value where that much of the training is done."""
        decay = (1 - share_done) ** 0.9 if self.optimisation.schedule == "polynomial" else 1.0
        return self.optimisation.learning_rate * decay
