"""Files from outside that a plugin was given: a record has their names and contents, and never where they lie."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from regbench.api import MaskSource, Method, Task
from regbench.data.files.atomic import write_text
from regbench.engine.plan import Plan
from regbench.engine.records.run_id import content_digest
from regbench.errors import DataError
from regbench.registry import Kind, configuration
from regbench.results import RunFolder

_NAMED = re.compile(r".*@(?:[0-9a-f]{12}|nothing)")
_LENGTH = 12


def named(instance: Method | MaskSource | Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in the words of a record: a path is the last part of its name, an @ and a digest of what lies there.

    Args:
        instance: a plugin.
        values: fields of it as JSON data.
    """
    paths = _paths(instance)
    return {name: _name(paths[name]) if name in paths else value for name, value in values.items()}


def keep_places(plan: Plan, folder: RunFolder) -> None:
    """Note beside the record, in a hidden file that is never bundled, where the files lie, to open the run again.

    Raises:
        StorageError: where it cannot be written.
    """
    plugins = {"task": plan.task, "method": plan.method.instance, "masks": plan.masks and plan.masks.instance}
    places = {
        kind: {name: str(path.absolute()) for name, path in _paths(plugin).items()}
        for kind, plugin in plugins.items()
        if plugin
    }
    if any(places.values()):
        write_text(folder.places, json.dumps(places, indent=1) + "\n")


def placed(kind: Kind, plugin: type[Any], values: Mapping[str, Any], folder: RunFolder) -> dict[str, Any]:
    """Fields of a record with the paths of this machine.

    Args:
        kind: whose fields they are.
        plugin: the class.
        values: as `named` gave them; a path in full, as older records have it, is taken as it is.
        folder: the run's.

    Raises:
        DataError: where a file is not what the run was given.
    """
    hints = get_type_hints(plugin)
    given = {
        name: value
        for name, value in values.items()
        if isinstance(value, str) and _NAMED.fullmatch(value) and Path in (hints.get(name), *get_args(hints.get(name)))
    }
    places = _places(folder).get(kind, {}) if given else {}
    for name, value in given.items():
        if name not in places or _name(Path(places[name])) != value:
            raise DataError([_gone(f"{kind}.{name}", value, places.get(name), folder)])
    return {**values, **{name: places[name] for name in given}}


def _paths(instance: Method | MaskSource | Task) -> dict[str, Path]:
    return {name: value for name in configuration(instance) if isinstance(value := getattr(instance, name), Path)}


def _name(path: Path) -> str:
    return f"{path.name}@{content_digest(path)[:_LENGTH]}"


def _places(folder: RunFolder) -> dict[str, dict[str, str]]:
    try:
        places: dict[str, dict[str, str]] = json.loads(folder.places.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return places


def _gone(field: str, value: str, place: str | None, folder: RunFolder) -> str:
    name, _, digest = value.rpartition("@")
    kind, _, key = field.partition(".")
    if place is None:
        example = json.dumps({kind: {key: "PATH"}})
        said = f"its record does not say where that lies; write {example} into {folder.places}"
    else:
        said = f"{place} is not that any more; put it back, or change the path in {folder.places}"
    return f"The run in {folder.path} was given '{name}' (content {digest}) as {field}, and {said}."
