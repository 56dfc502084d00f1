"""What the trainable baselines share: recipe, weights, objective."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from regbench.api import Batch, Preset, Recipe, Setting, Trainable
from regbench_baselines.objective import COMMON_WEIGHTS, objective
from regbench_baselines.official import Official
from regbench_baselines.weights import load_weights


@dataclass(frozen=True, kw_only=True)
class Baseline(Trainable):
    """A published network, trained as all others are unless its official recipe is asked for.

    Attributes:
        recipe: "common", the same for all rows of a board, or "official", the authors' own.
        weights: a file to start from: own weights, or those of the official code (safetensors, or a torch state_dict).
        checkpointing: recompute activations in the backward pass: less memory, more time, the same numbers.
    """

    masks: ClassVar[Literal["never", "training", "always"]] = "training"
    official: ClassVar[Official]

    recipe: Literal["common", "official"] = "common"
    weights: Path | None = None
    checkpointing: bool = False

    @abstractmethod
    def build(self, setting: Setting) -> nn.Module:
        """The network with new weights."""

    @abstractmethod
    def official_recipe(self) -> Recipe:
        """How the authors trained it, at full length."""

    def network(self, setting: Setting) -> nn.Module:
        """The network with new weights, or with those of the file."""
        network = self.build(setting)
        if self.weights is not None and load_weights(network, self.weights, self.official):
            self.keep_official_rules(network)
        return network

    def keep_official_rules(self, network: nn.Module) -> None:
        """Set what the official weights were trained with and regbench's own networks leave out; nothing by default."""

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """The common objective of the network's field."""
        return objective(self.displacement(network, batch), batch)

    def training(self, preset: Preset) -> Recipe:
        """The recipe as configured; the quick preset shortens the official one to as many steps as the common one."""
        common = Recipe.common(preset, COMMON_WEIGHTS)
        if self.recipe == "common":
            return common
        return self.official_recipe() if preset == "paper" else replace(self.official_recipe(), steps=common.steps)
