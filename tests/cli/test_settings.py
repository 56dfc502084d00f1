"""What `--set`, `--budget` and `--data` say."""

from pathlib import Path

import pytest

from regbench.api import Optimisation, Recipe
from regbench.cli.settings import (
    read_budget,
    read_folders,
    read_settings,
    read_shape,
    with_settings,
    with_steps,
)
from regbench.errors import BadValueError, UnknownNameError

RECIPE = Recipe(weights={"similarity": 1.0, "smooth": 4.0}, steps=200, optimisation=Optimisation(learning_rate=1e-3))


def test_settings_are_sorted_by_owner() -> None:
    texts = ["a=1", "task.grid=24x20x16", "masks.quality=0.5", "recipe.weights.smooth=2", "vm.steps=7", "b.c=x=y"]
    settings = read_settings(texts, ["vm", "ours"])
    assert settings.methods == {"a": "1", "b.c": "x=y"}
    assert settings.of_method == {"vm": {"steps": "7"}}
    assert settings.masks == {"quality": "0.5"}
    assert settings.recipe == {"weights.smooth": "2"}
    assert settings.grid == (24, 20, 16)
    assert read_settings([], []).grid is None


@pytest.mark.parametrize("text", ["novalue", "=3"])
def test_settings_need_a_name_and_a_value(text: str) -> None:
    with pytest.raises(BadValueError, match="NAME=VALUE"):
        read_settings([text], [])


@pytest.mark.parametrize("text", ["96x80", "axbxc", "96x80x7", "96x80x-8", "1.5x20x20", ""])
def test_impossible_grids(text: str) -> None:
    with pytest.raises(BadValueError, match="three numbers"):
        read_shape(text)


@pytest.mark.parametrize("text", ["", "0", "-3m", "10x", "m", "1h30"])
def test_impossible_budgets(text: str) -> None:
    with pytest.raises(BadValueError, match="--budget takes a time"):
        read_budget(text)


def test_folders_belong_to_tasks() -> None:
    assert read_folders(["x/y"], ["a"]) == {"a": Path("x/y")}
    assert read_folders(["a=x", "b=y=z"], ["a", "b", "c"]) == {"a": Path("x"), "b": Path("y=z")}
    with pytest.raises(BadValueError, match="TASK=DIR"):
        read_folders(["x"], ["a", "b"])


def test_recipe_settings_reach_their_places() -> None:
    words = {"learning_rate": "5e-5", "amsgrad": "true", "flips": "true", "weights.smooth": "1.5", "weights.extra": "2"}
    recipe = with_settings(RECIPE, words)
    assert recipe.optimisation == Optimisation(learning_rate=5e-5, amsgrad=True)
    assert recipe.flips
    assert recipe.weights == {"similarity": 1.0, "smooth": 1.5, "extra": 2.0}
    assert recipe.steps == 200
    assert with_settings(RECIPE, {}) == RECIPE
    assert with_steps(RECIPE, 7).steps == 7
    assert with_steps(RECIPE, None) is RECIPE


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("steps", "0", "above 0"),
        ("learning_rate", "-1", "above 0"),
        ("learning_rate", "fast", "learning_rate cannot be 'fast'"),
        ("schedule", "cosine", "schedule cannot be 'cosine'"),
        ("weights.smooth", "much", "is a number"),
        ("batch_size", "0", "above 0"),
    ],
)
def test_impossible_recipes(name: str, value: str, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        with_settings(RECIPE, {name: value})


def test_unknown_recipe_settings_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'learning_rate'"):
        with_settings(RECIPE, {"learningrate": "1"})
