from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from regbench.api import Optimisation, Recipe
from regbench.engine import Plan

Make = Callable[..., Plan]


def test_row_names(make_plan: Make, toys: ModuleType) -> None:
    assert make_plan().row == "toy"
    assert make_plan(toys.ToyMethod(fast=False)).row == "toy[-fast]"
    assert make_plan(toys.ToyMethod(fast=False, channels=3, sizes=(4, 5))).row == "toy[channels=3,-fast,sizes=4x5]"
    assert make_plan(toys.Shift(voxels=1.5)).row == "toy[voxels=1.5]"


def test_masks_are_named_where_only_the_training_sees_them(make_plan: Make, toys: ModuleType) -> None:
    halves = toys.Halves()
    for method, row, use in (
        (toys.ToyMethod(), "toy + halves", "training"),
        (toys.MaskedToy(), "toy", "training and test"),
        (toys.Shift(), "toy", None),
    ):
        plan = make_plan(method, masks=halves)
        assert (plan.row, plan.mask_use) == (row, use)
    changed = make_plan(toys.ToyMethod(fast=False), masks=toys.Halves(label=2, file=Path("/far/away/masks.csv")))
    assert changed.row == "toy[-fast] + halves[label=2,file=masks.csv]"


def test_a_changed_recipe_is_named_but_not_its_length(make_plan: Make, toys: ModuleType) -> None:
    usual = toys.ToyMethod().training("quick")
    changed = replace(usual, flips=True, steps=99, optimisation=Optimisation(learning_rate=0.01))
    assert make_plan(recipe=changed).row == "toy[recipe.+flips,recipe.learning_rate=0.01]"
    reweighted = replace(usual, weights={**usual.weights, "smooth": 2.0})
    assert make_plan(recipe=reweighted).row == "toy[recipe.weights.smooth=2.0]"


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 3}, 6),
        ({"epochs": 3, "batch_size": 4}, 2),
        ({"epochs": 3, "both_directions": True}, 12),
    ],
)
def test_steps(make_plan: Make, recipe: dict[str, Any], steps: int) -> None:
    plan = make_plan(recipe=Recipe(weights={"similarity": 1.0}, **recipe))
    assert len(plan.protocol.train_pairs) == 2
    assert plan.steps == steps
    assert replace(plan, budget_seconds=5.0).steps is None


def test_nothing_trained_has_no_steps(make_plan: Make, toys: ModuleType) -> None:
    assert make_plan(toys.Shift()).steps is None
