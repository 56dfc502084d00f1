"""The fields of a plugin's class are its configuration."""

import dataclasses
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from regbench.errors import BadValueError, RegbenchError, UnknownNameError
from regbench.registry.wording import type_words

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field of a plugin's configuration.

    Attributes:
        name: as `--set` takes it.
        type: what it takes, with its limits, in words.
        default: its default as JSON data.
    """

    name: str
    type: str
    default: Any


def fields(plugin: type[Any]) -> list[FieldInfo]:
    """The configuration fields of a plugin's class, in order."""
    default = configuration(configure(plugin, {}))
    hints = get_type_hints(plugin, include_extras=True)
    return [
        FieldInfo(field.name, type_words(hints[field.name]), default[field.name])
        for field in dataclasses.fields(plugin)
    ]


def configuration(plugin: Any) -> dict[str, Any]:
    """The configuration of a plugin as JSON data."""
    names = [field.name for field in dataclasses.fields(plugin)] if dataclasses.is_dataclass(plugin) else []
    return {name: to_jsonable_python(getattr(plugin, name)) for name in names}


def changed(plugin: Any, usual: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a plugin that differ from their defaults, as JSON data.

    Args:
        plugin: an instance.
        usual: field → value in the place of its default.
    """
    default = configuration(configure(type(plugin), usual or {}))
    return {name: value for name, value in configuration(plugin).items() if value != default[name]}


def configure(plugin: type[P], settings: Mapping[str, Any]) -> P:
    """An instance of a plugin's class with some of its fields set, each checked against its annotation.

    Args:
        plugin: a (frozen) dataclass.
        settings: field name → value; text is read as the field's type ("2,3,2" or "2x3x2" for a sequence).

    Raises:
        UnknownNameError: for a field that the class does not have.
        BadValueError: for a value, given or usual, that does not fit or that no record can hold.
    """
    known = {field.name for field in dataclasses.fields(plugin)} if dataclasses.is_dataclass(plugin) else set()
    hints = _hints(plugin)
    values = {}
    for name, value in settings.items():
        if name not in known:
            raise UnknownNameError(f"field of {plugin.__name__}", name, known)
        values[name] = _read(plugin.__name__, name, hints[name], value)
    made = set_up(plugin, values)
    check_fields(made)
    return made


def check_fields(plugin: Any) -> None:
    """Each field of an instance fits its annotation and a record.

    Raises:
        BadValueError: for one that does not.
    """
    kind = type(plugin)
    hints = _hints(kind)
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        _read(kind.__name__, field.name, hints[field.name], getattr(plugin, field.name))
    try:
        configuration(plugin)
    except (TypeError, ValueError) as error:
        raise BadValueError(f"The fields of {kind.__name__} cannot be written to a record: {error}.") from error


def set_up(plugin: type[P], values: Mapping[str, Any]) -> P:
    """An instance of a plugin's class with these values, unchecked.

    Raises:
        BadValueError: whatever its author's code raised.
    """
    try:
        return plugin(**values)
    except RegbenchError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise BadValueError(f"{plugin.__name__} cannot be set up: {kind}{error}") from error


def _hints(plugin: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(plugin, include_extras=True)
    except Exception as error:
        raise BadValueError(f"A field of {plugin.__name__} has a type that cannot be read: {error}.") from error


def _read(owner: str, name: str, annotation: Any, value: Any) -> Any:
    adapter = _adapter(annotation)
    for reading in _readings(value):
        with suppress(ValidationError):
            return adapter.validate_python(reading)
    raise BadValueError(f"{owner}.{name} cannot be {value!r}; expected {type_words(annotation)}.")


def _adapter(annotation: Any) -> Any:  # beartype knows no TypeAdapter
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # dataclasses and models bring their own
        return TypeAdapter(annotation)


def _readings(value: Any) -> list[Any]:
    """What a text may mean: itself, JSON, or a sequence of parts."""
    readings = [value]
    if isinstance(value, str):
        if value.lower() == "none":
            readings.insert(0, None)
        try:
            readings.append(json.loads(value))
        except json.JSONDecodeError:
            readings.append(re.split(r"[,x]", value))
    return readings
