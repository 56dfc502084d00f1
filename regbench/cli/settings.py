"""What `--set`, `--budget` and `--data` say, in types."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from regbench.api import Optimisation, Recipe, Shape
from regbench.errors import BadValueError, UnknownNameError
from regbench.registry import configure

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_WEIGHTS = "weights"


@dataclass(frozen=True)
class Settings:
    """`--set NAME=VALUE`, sorted by what it is for.

    Attributes:
        task: field of the task → value; "grid" is the number of voxels and no field.
        masks: field of the mask source → value.
        recipe: field of the recipe → value.
        of_method: method → field → value, for `METHOD.field`.
        methods: field → value, for every requested method that has such a field.
    """

    task: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    of_method: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def grid(self) -> Shape | None:
        """The grid's shape, if one was set."""
        return read_shape(self.task["grid"]) if "grid" in self.task else None


def read_settings(texts: Sequence[str], methods: Sequence[str]) -> Settings:
    """Sort the settings.

    Args:
        texts: "field=value", "task.field=value", "masks.…", "recipe.…" or "METHOD.…".
        methods: the names of the requested methods.

    Raises:
        BadValueError: for a text without an equals sign.
    """
    sorted_: dict[str, dict[str, str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadValueError(f"--set takes NAME=VALUE, not '{text}'; e.g. --set recipe.learning_rate=1e-4.")
        owner, dot, rest = name.partition(".")
        scoped = bool(dot) and owner in ("task", "masks", "recipe", *methods)
        sorted_.setdefault(owner if scoped else "", {})[rest if scoped else name] = value
    return Settings(
        task=sorted_.get("task", {}),
        masks=sorted_.get("masks", {}),
        recipe=sorted_.get("recipe", {}),
        of_method={method: sorted_[method] for method in methods if method in sorted_},
        methods=sorted_.get("", {}),
    )


def read_shape(text: str) -> Shape:
    """The number of voxels along i, j, k.

    >>> read_shape("96x80x128")
    (96, 80, 128)

    Raises:
        BadValueError: for anything but three numbers of at least 8.
    """
    parts = re.split(r"[x×,]", text)
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) >= 8 for part in parts):
        raise BadValueError(f"A grid is three numbers of at least 8, such as 96x80x128, not '{text}'.")
    i, j, k = (int(part) for part in parts)
    return i, j, k


def read_budget(text: str) -> float:
    """A time in seconds.

    >>> read_budget("10m"), read_budget("1.5h"), read_budget("90")
    (600.0, 5400.0, 90.0)

    Raises:
        BadValueError: for anything but a positive number with s, m, h or nothing after it.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise BadValueError(f"--budget takes a time such as 90s, 10m or 2h, not '{text}'.")
    return seconds


def read_folders(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, Path]:
    """Task → folder of its real scans.

    Args:
        texts: "DIR" for the only task, or "TASK=DIR".
        tasks: the requested tasks.

    Raises:
        BadValueError: for a folder whose task is not clear.
    """
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if equals and name in tasks:
            folders[name] = Path(rest)
        elif len(tasks) == 1:
            folders[tasks[0]] = Path(text)
        else:
            raise BadValueError(
                f"--data {text} does not say for which of the tasks {', '.join(tasks)} it is; write --data TASK=DIR."
            )
    return folders


def with_settings(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """A recipe with some of its values set.

    Args:
        recipe: the method's own.
        settings: field of the recipe or of its optimisation → value; "weights.TERM" → the weight of a loss term.

    Raises:
        UnknownNameError: for what a recipe does not have.
        BadValueError: for a value that does not fit.
    """
    own = {f.name for f in fields(Recipe)} - {_WEIGHTS, "optimisation"}
    inner = {f.name for f in fields(Optimisation)}
    weights = dict(recipe.weights)
    for name, value in settings.items():
        kind, _, term = name.partition(".")
        if kind == _WEIGHTS:
            weights[term] = _weight(name, value)
        elif name not in own | inner:
            known = {*own, *inner, *(f"{_WEIGHTS}.{term}" for term in weights)}
            raise UnknownNameError("field of the recipe", name, known)
    optimisation = configure(
        Optimisation, asdict(recipe.optimisation) | {n: v for n, v in settings.items() if n in inner}
    )
    values = {name: getattr(recipe, name) for name in own} | {n: v for n, v in settings.items() if n in own}
    return _sound(configure(Recipe, {**values, _WEIGHTS: weights, "optimisation": optimisation}))


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """A recipe of so many steps, if a number is given.

    Raises:
        BadValueError: for a number that is not positive.
    """
    return recipe if steps is None else _sound(replace(recipe, steps=steps))


def _weight(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise BadValueError(f"recipe.{name} is a number, not '{value}'.") from error


def _sound(recipe: Recipe) -> Recipe:
    """Refuse what no training can use."""
    for name, value in (
        ("steps", recipe.steps),
        ("epochs", recipe.epochs),
        ("batch_size", recipe.batch_size),
        ("learning_rate", recipe.optimisation.learning_rate),
    ):
        if value is not None and not value > 0:
            raise BadValueError(f"The recipe's {name} is above 0, not {value}.")
    return recipe
