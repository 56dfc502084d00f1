"""Names on a board: rows that can be told apart, and short heads for long names of structures."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from regbench.leaderboard.row import BASELINE, BASELINE_TITLE
from regbench.results import RunRecord, flat_recipe

_SMALL_WORDS = {"and", "of", "the", "in"}
_MISSING = object()


def display_name(record: RunRecord) -> str:
    """The row's name with the method's title in place of its registry name."""
    if record.method.name == BASELINE and not record.refine:
        return BASELINE_TITLE
    rest = record.row.removeprefix(record.method.name)
    return record.method.title + rest if rest != record.row else record.row


def distinct_names(records: Sequence[RunRecord]) -> list[str]:
    """A name for each configuration; namesakes get what tells them apart in brackets."""
    names = [display_name(record) for record in records]
    return [
        _with_differences(name, record, [r for r, n in zip(records, names, strict=True) if n == name])
        for name, record in zip(names, records, strict=True)
    ]


def _with_differences(name: str, record: RunRecord, namesakes: Sequence[RunRecord]) -> str:
    differing = [tell for tell in _TELLS if len({tell(r, namesakes) for r in namesakes}) > 1]
    said = [word for tell in differing if (word := tell(record, namesakes))]
    return f"{name} ({', '.join(said)})" if said else name


def differing_settings(settings: Mapping[str, object], among: Sequence[Mapping[str, object]]) -> str:
    """The settings that not all of several configurations share.

    >>> differing_settings({"steps": 450, "folds": 2}, [{"steps": 450}, {"steps": 450, "folds": 2}])
    'folds=2'
    """
    return ",".join(
        f"{key}={value}" for key, value in settings.items() if any(o.get(key, _MISSING) != value for o in among)
    )


def specified(name: str, settings: Mapping[str, object], among: Sequence[Mapping[str, object]]) -> str:
    """A name, with its settings in brackets if not all of several configurations share them."""
    said = differing_settings(settings, among)
    return f"{name}[{said}]" if said else name


def _method(record: RunRecord, namesakes: Sequence[RunRecord]) -> str:
    return differing_settings(record.method.configuration, [r.method.configuration for r in namesakes])


def _masks(record: RunRecord, namesakes: Sequence[RunRecord]) -> str:
    masks = record.masks
    if masks is None:
        return "no masks"
    others = [r.masks.configuration for r in namesakes if r.masks and r.masks.name == masks.name]
    return f"masks: {specified(masks.name, masks.configuration, others)}"


def _training(record: RunRecord, _: Sequence[RunRecord]) -> str:
    training = record.training
    if training is None:
        return ""
    return f"{training.budget_seconds:g} s" if training.budget_seconds else f"{training.steps} steps"


def _recipe(record: RunRecord, namesakes: Sequence[RunRecord]) -> str:
    """What a preset's namesakes do not share; that of another preset differs anyway, and the preset is told."""
    return differing_settings(_trained_by(record), [_trained_by(r) for r in namesakes if r.preset == record.preset])


def _trained_by(record: RunRecord) -> dict[str, object]:
    """The recipe but its number of steps, which is told before."""
    recipe = flat_recipe(record.training.recipe) if record.training else {}
    return {name: value for name, value in recipe.items() if name != "steps"}


_TELLS: tuple[Callable[[RunRecord, Sequence[RunRecord]], str], ...] = (
    lambda record, _: record.preset if record.training else "",
    _training,
    lambda record, _: f"refined by {record.refine} steps" if record.refine else "",
    _masks,
    _method,
    lambda record, _: f"{record.method.distribution} {record.method.version}",
    _recipe,
)


def abbreviations(names: Sequence[str]) -> list[str]:
    """Short, distinct column heads.

    >>> abbreviations(["spleen", "right kidney", "portal and splenic vein", "stomach", "right kernel"])
    ['Spl', 'RK', 'PSV', 'Sto', 'RK2']
    """
    short = [_shorten(name) for name in names]
    seen: Counter[str] = Counter()
    distinct = []
    for head in short:
        seen[head] += 1
        distinct.append(head if seen[head] == 1 else f"{head}{seen[head]}")
    return distinct


def _shorten(name: str) -> str:
    words = [word for word in re.split(r"[\s_/-]+", name) if word and word.lower() not in _SMALL_WORDS]
    if len(words) == 1:
        return words[0].capitalize() if len(words[0]) <= 4 and words[0].islower() else words[0][:3].capitalize()
    return "".join(word[0].upper() for word in words)
