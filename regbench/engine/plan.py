"""A plan: one row of a board, before it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch

from regbench.api import MaskSource, Method, Metric, Preset, Protocol, Recipe, Task, Trainable
from regbench.errors import PluginError, RegbenchError
from regbench.registry import Plugin, changed, configuration
from regbench.results import flat_recipe

T = TypeVar("T", bound=Method | MaskSource)
Precision = Literal["float32", "bfloat16"]
_SET_ASIDE = ("steps", "epochs")


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """A plugin as it was chosen: where it comes from, and the instance with its settings.

    Attributes:
        plugin: as the registry found it.
        instance: configured.
        usual: fields that the preset sets; they do not count as changed.
    """

    plugin: Plugin
    instance: T
    usual: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def changed(self) -> Mapping[str, Any]:
        """The fields that differ from what they are in the preset, as JSON data."""
        return changed(self.instance, self.usual)

    @property
    def label(self) -> str:
        """The name with what was changed.

        `ours[-contour]` for a field set to false, `voxelmorph[integration_steps=7]` for any other.
        """
        changes = [_change(name, value) for name, value in self.changed.items()]
        return self.plugin.name + (f"[{','.join(changes)}]" if changes else "")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is needed to run one row.

    Attributes:
        task_name: the task's name in the registry.
        task: where the scans lie.
        protocol: which scans and pairs, already on the preset's grid.
        data: a phantom cohort or real scans.
        folder: the scans, in the official layout.
        method: what registers.
        masks: what makes masks, or None.
        recipe: how the network is trained, overrides included; None for a method without training.
        preset: which preset the recipe and the grid come from.
        budget_seconds: train for so long instead of for the recipe's steps; or None.
        refine: steps of instance optimisation that follow each registration at test; 0: none.
        seed: of all that is random.
        device: where to compute.
        precision: of the training; registration and metrics are computed in float32.
        metrics: name → metric.
        save_fields: whether the displacement fields are kept.
        cache: the folder for preprocessed cohorts and masks; None: the user's cache folder.
        checkpoint_seconds: of a checkpoint to the next, or longer where writing takes long; 0: one after every step.
    """

    task_name: str
    task: Task
    protocol: Protocol
    data: Literal["phantom", "real"]
    folder: Path
    method: Chosen[Method]
    masks: Chosen[MaskSource] | None = None
    recipe: Recipe | None = None
    preset: Preset
    budget_seconds: float | None = None
    refine: int = 0
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "float32"
    metrics: Mapping[str, Metric]
    save_fields: bool = False
    cache: Path | None = None
    checkpoint_seconds: float = 30.0

    @property
    def mask_use(self) -> Literal["training", "training and test"] | None:
        """Where the method uses the masks: None where there are none, or where it does not look at them."""
        method = self.method.instance
        if self.masks is None or method.masks == "never":
            return None
        if method.masks == "always":
            return "training and test"
        return "training" if isinstance(method, Trainable) else None

    @property
    def steps(self) -> int | None:
        """Optimiser steps in all; None for a time budget, or where nothing is trained."""
        if self.recipe is None or self.budget_seconds is not None:
            return None
        if self.recipe.steps is not None:
            return self.recipe.steps
        draws = -(-self.recipe.epochs * len(self.protocol.train_pairs) // self.recipe.batch_size)
        return draws * (2 if self.recipe.both_directions else 1)

    @property
    def row(self) -> str:
        """The row's name: the method with what was changed, " + masks" if only the training sees them, " + refine"."""
        changes = [_change(name, value) for name, value in self.method.changed.items()]
        changes += [f"recipe.{_change(name, value)}" for name, value in self._changed_recipe().items()]
        row = self.method.plugin.name + (f"[{','.join(changes)}]" if changes else "")
        if self.masks and self.mask_use == "training":
            row += f" + {self.masks.label}"
        return f"{row} + refine" if self.refine else row

    def _changed_recipe(self) -> Mapping[str, Any]:
        method = self.method.instance
        if self.recipe is None or not isinstance(method, Trainable):
            return {}
        usual, used = (flat_recipe(configuration(recipe)) for recipe in (recipe_of(method, self.preset), self.recipe))
        return {name: value for name, value in used.items() if name not in _SET_ASIDE and usual.get(name) != value}


def recipe_of(method: Trainable, preset: Preset) -> Recipe:
    """How a method's network is trained, as the method itself says.

    Raises:
        PluginError: where it raises, or gives something else than a recipe.
    """
    said = f"`training` of {type(method).__name__}"
    try:
        recipe: object = method.training(preset)
    except RegbenchError:
        raise
    except Exception as error:
        raise PluginError(f"{said} raised {type(error).__name__} for the preset {preset}: {error}") from error
    if not isinstance(recipe, Recipe):
        found = type(recipe).__name__
        raise PluginError(f"{said} gave a {found} for the preset {preset}; expected a regbench.api.Recipe.")
    return recipe


def _change(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"+{name}" if value else f"-{name}"
    if isinstance(value, list):
        return f"{name}={'x'.join(str(part) for part in value)}"
    return f"{name}={Path(value).name if isinstance(value, str) else value}"
