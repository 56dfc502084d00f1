"""The two kinds of method: one that just registers, and one whose network is trained first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api.card import Card
from regbench.api.geometry import Field
from regbench.api.pair import Batch, Pair, Setting

Preset = Literal["quick", "paper"]


class Method(ABC):
    """A way to register a pair. Subclass it as a frozen dataclass: its fields are its configuration.

    Attributes:
        card: what a reader of its numbers has to know.
        masks: when the method looks at masks: "never"; "training" (if there are any, in its losses only);
            "always" (in training and at test; it cannot run without).
        quick: fields that the quick preset sets, where the defaults would take a CPU too long; a user's setting wins.
    """

    card: ClassVar[Card]
    masks: ClassVar[Literal["never", "training", "always"]] = "never"
    quick: ClassVar[Mapping[str, object]] = MappingProxyType({})

    @abstractmethod
    def register(self, pair: Pair) -> Field:
        """The field that warps the moving scan onto the fixed one.

        Args:
            pair: both scans (and their masks, only if `masks` is "always"); must not be written to.
        """

    def skip(self, pair: Pair) -> str | None:  # noqa: ARG002 - overridden where there is something to look at
        """Why the pair is out of scope for this method, or None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimisation:
    """The optimiser and its schedule.

    Attributes:
        name: which optimiser.
        learning_rate: at the start.
        amsgrad: the AMSGrad variant of Adam.
        schedule: "constant", or "polynomial": learning_rate · (1 − step / steps)^0.9.
    """

    name: Literal["adam"] = "adam"
    learning_rate: float = 1e-4
    amsgrad: bool = False
    schedule: Literal["constant", "polynomial"] = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        weights: loss term → weight; a term that `losses` gives and that has no weight here is an error.
        steps: optimiser steps; None: `epochs` times the number of training pairs.
        epochs: passes through the training pairs, where `steps` is None.
        batch_size: pairs a step.
        both_directions: every pair drawn is also registered the other way round, as a step of its own.
        flips: random flips along all three axes, the same for both scans.
        optimisation: the optimiser and its schedule.
    """

    weights: Mapping[str, float]
    steps: int | None = None
    epochs: int = 500
    batch_size: int = 1
    both_directions: bool = False
    flips: bool = False
    optimisation: Optimisation = Optimisation()

    @classmethod
    def common(cls, preset: Preset, weights: Mapping[str, float]) -> "Recipe":
        """The recipe that all methods of a board share, so that rows can be compared.

        "paper" is section 4.2 of Xu et al., IPMI 2025: Adam, learning rate 1e-4, batch 1, 500 epochs.
        "quick" is for minutes on a CPU: 150 steps at a higher learning rate that decays to zero. (At a constant one a
        coarse-to-fine network is as good or bad as the last steps left it.)
        """
        if preset == "paper":
            return cls(weights=weights)
        return cls(weights=weights, steps=150, optimisation=Optimisation(learning_rate=1e-3, schedule="polynomial"))


class Trainable(Method):
    """A method whose network is trained first. The engine owns the loop, the precision and the checkpoints."""

    @abstractmethod
    def network(self, setting: Setting) -> nn.Module:
        """A new network, with weights such that it starts near the identity, or near what the masks alone say."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """The loss terms by name, not yet weighted; each is finite and differentiable."""

    @abstractmethod
    def training(self, preset: Preset) -> Recipe:
        """How the network is trained."""

    def displacement(self, network: nn.Module, batch: Batch) -> Float[Tensor, "b 3 i j k"]:
        """The field of each pair of a batch, in voxels at full resolution; by default `network(moving, fixed)`."""
        u: Float[Tensor, "b 3 i j k"] = network(batch.moving, batch.fixed)
        return u

    def predict(self, network: nn.Module, pair: Pair) -> Field:
        """Register one pair with a network at hand, in its evaluation mode and without gradients."""
        network.eval()
        with torch.no_grad():
            u = self.displacement(network, pair.batch())
        return Field(u[0].float(), pair.grid)

    def register(self, pair: Pair) -> Field:
        """Register with a new network: the identity, unless the configuration names trained weights."""
        return self.predict(self.network(pair.setting).to(pair.fixed.data.device), pair)
