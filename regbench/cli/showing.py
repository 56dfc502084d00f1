"""All that is known of one plugin, for `regbench show`."""

import dataclasses
import inspect
import json
from typing import Any

from pydantic_core import to_jsonable_python
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from regbench.api import Preset, Protocol, Task, Trainable
from regbench.api.grid import times
from regbench.cli.console import out
from regbench.engine.plan import recipe_of
from regbench.registry import NOUNS, Kind, Registry, fields
from regbench.results import flat_recipe

_FACTS = {
    "method": ("masks",),
    "task": ("modality", "default_protocol"),
    "metric": ("unit", "higher_is_better", "digits"),
    "masks": ("saw_test_images", "saw_test_labels"),
}
_PRESETS: tuple[Preset, ...] = ("quick", "paper")


def facts(registry: Registry, kind: Kind, name: str) -> dict[str, Any]:
    """A plugin's card, properties, fields and, for a task, protocols; as JSON data.

    Raises:
        UnknownNameError, PluginError: if it cannot be had.
    """
    plugin = registry.plugin(kind, name)
    cls = plugin.load()
    found: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "from": f"{plugin.distribution} {plugin.version}".strip(),
        "target": plugin.target,
        "card": dataclasses.asdict(cls.card),
        "properties": {fact: getattr(cls, fact) for fact in _FACTS[kind]},
        "fields": [
            {"name": f.name, "type": f.type, "default": f.default, "meaning": meaning} | _quick(cls, f.name)
            for f, meaning in zip(fields(cls), _meanings(cls), strict=True)
        ],
    }
    if issubclass(cls, Task):
        found["protocols"] = [_protocol(protocol) for protocol in cls().protocols().values()]
    if issubclass(cls, Trainable):
        found["recipes"] = {preset: to_jsonable_python(recipe_of(cls(), preset)) for preset in _PRESETS}
    return found


def _quick(cls: type[Any], field: str) -> dict[str, Any]:
    """The value that the quick preset gives a field, if it does."""
    usual = getattr(cls, "quick", {})
    return {"quick": to_jsonable_python(usual[field])} if field in usual else {}


def _protocol(protocol: Protocol) -> dict[str, Any]:
    return {
        "name": protocol.name,
        "revision": protocol.revision,
        "title": protocol.title,
        "training_pairs": len(protocol.train_pairs),
        "test_pairs": len(protocol.test_pairs),
        "grid": list(protocol.grid.shape),
        "quick_grid": list(protocol.quick_shape),
        "labels": {str(number): name for number, name in protocol.labels.items()},
        "notes": list(protocol.notes),
    }


def _meanings(cls: type[Any]) -> list[str]:
    """What the docstrings of a class and of those it derives from say of each field under "Attributes"."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        said |= _attributes(inspect.cleandoc(base.__doc__ or ""))
    return [said.get(field.name, "") for field in dataclasses.fields(cls)]


def _attributes(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("Attributes:\n")
    said: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.strip() or indent < 4:
            break
        if indent == 4:
            name, _, meaning = line.strip().partition(": ")
            said[name] = meaning
        else:
            said[name] += f" {line.strip()}"
    return said


def print_facts(found: dict[str, Any]) -> None:
    """Print them for a reader."""
    console, card = out(), found["card"]
    console.print(
        Text(card["title"], "bold cyan") + Text(f"  {NOUNS[found['kind']]} {found['name']}, {found['from']}", "dim")
    )
    console.print(Text(card["summary"]))
    for head in ("origin", "licence", "trained_on"):
        if card[head]:
            console.print(Text(f"{head.replace('_', ' ')}: ", "bold") + Text(card[head]))
    for name, value in found["properties"].items():
        what = "looks at masks" if name == "masks" else name.replace("_", " ")
        console.print(Text(f"{what}: ", "bold") + Text(_plain(value)))
    _print_list("Differs", card["differs"])
    _print_fields(found["kind"], found["fields"])
    if "protocols" in found:
        _print_protocols(found["protocols"])
    _print_recipes(found.get("recipes", {}))
    if card["citation"]:
        console.print(Text("\nCitation", "bold"))
        console.print(Text(card["citation"], "dim"), soft_wrap=True)


def _print_fields(kind: Kind, found: list[dict[str, Any]]) -> None:
    if found:
        owner = "" if kind == "method" else f"{kind}."
        how = "" if kind == "metric" else f" (set by --set {owner}NAME=VALUE)"
        out().print(Text("\nFields", "bold") + Text(how, "dim"))
    for field in found:
        head = Text(f"{field['name']} = {_plain(field['default'])}", "cyan")
        if "quick" in field:
            head += Text(f" (quick: {_plain(field['quick'])})", "cyan")
        head += Text(f"  ({field['type']})", "dim")
        _print_indented(head)
        if field["meaning"]:
            _print_indented(Text(field["meaning"]), 6)


def _print_protocols(protocols: list[dict[str, Any]]) -> None:
    """What every protocol notes stands once, below them."""
    shared = [note for note in protocols[0]["notes"] if all(note in one["notes"] for one in protocols)]
    for protocol in protocols:
        _print_protocol(protocol)
        _print_list("", [note for note in protocol["notes"] if note not in shared])
    _print_list("\nEvery protocol", shared)


def _print_protocol(protocol: dict[str, Any]) -> None:
    console = out()
    grid, quick = (times(protocol[key]) for key in ("grid", "quick_grid"))
    console.print(Text(f"\nProtocol {protocol['name']}", "bold") + Text(f", revision {protocol['revision']}", "dim"))
    _print_indented(Text(protocol["title"]))
    line = (
        f"{protocol['training_pairs']} training pairs, {protocol['test_pairs']} test pairs, "
        f"{len(protocol['labels'])} structures, {grid} voxels (quick: {quick})"
    )
    _print_indented(Text(line))


def _print_recipes(recipes: dict[str, Any]) -> None:
    for preset, recipe in recipes.items():
        unused = "steps" if recipe["steps"] is None else "epochs"
        words = ", ".join(f"{name} {_plain(value)}" for name, value in flat_recipe(recipe).items() if name != unused)
        how = Text(" (set by --set recipe.NAME=VALUE)", "dim")
        out().print(Text(f"\nRecipe of the preset {preset}", "bold") + how)
        _print_indented(Text(words))


def _print_list(title: str, items: Any) -> None:
    if items and title:
        out().print(Text(title, "bold"))
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for item in items:
        bullets.add_row(Text("-", "dim"), Text(item, "dim"))
    _print_indented(bullets)


def _print_indented(what: Text | Table, columns: int = 2) -> None:
    out().print(Padding(what, (0, 0, 0, columns), expand=False))


def _plain(value: Any) -> str:
    """A value as `--set` would take it.

    >>> _plain(True), _plain(None), _plain([16, 32]), _plain({"a": 1}), _plain("")
    ('true', 'none', '16x32', '{"a": 1}', '""')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "x".join(str(part) for part in value)
    if isinstance(value, dict):
        return json.dumps(value)
    return '""' if value == "" else str(value)
