"""How a fault becomes a sentence."""

import dataclasses
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from regbench.api import Card
from regbench.errors import RequestError
from regbench.registry import Kind, Registry, check_fields, set_up

Check = tuple[str, Callable[[], Iterable[str]]]
"""What it does, as it would follow "while ", and the check itself."""


def instance_of(kind: Kind, plugin: Any) -> Any:
    """The plugin at its defaults, unless it is an instance already.

    Args:
        kind: of the plugin.
        plugin: its class, an instance, or its name in the registry.

    Raises:
        RequestError: for a name that cannot be had, or a class that cannot be set up.
    """
    if isinstance(plugin, str):
        plugin = Registry().load(kind, plugin)
    return set_up(plugin, {}) if isinstance(plugin, type) else plugin


def gather(plugin: Any, *stages: Iterable[Check]) -> list[str]:
    """The faults of the first stage that has any, without which the stages after it would only say them again.

    A check that raises is a fault, but a wrong request is handed on.

    Args:
        plugin: an instance; an error says the line of its file.
        stages: the checks of each.
    """
    return next((faults for checks in stages if (faults := _faults(plugin, checks))), [])


def _faults(plugin: Any, checks: Iterable[Check]) -> list[str]:
    faults: list[str] = []
    for doing, check in checks:
        try:
            faults += check()
        except RequestError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())
            faults.append(f"It raised {type(error).__name__} while {doing}: {said}{_line(plugin, error)}")
    return list(dict.fromkeys(faults))


def _line(plugin: Any, error: Exception) -> str:
    """The innermost line of the plugin's own file that an error came through, in brackets; or nothing."""
    file = getattr(sys.modules.get(type(plugin).__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""


def card_faults(plugin: Any) -> Iterator[str]:
    """Faults of a plugin's card and of its form."""
    name = type(plugin).__name__
    card = getattr(type(plugin), "card", None)
    if not isinstance(card, Card):
        yield f"{name} has no card: expected a class attribute `card` of type regbench.api.Card."
    else:
        for field in ("title", "summary"):
            if not getattr(card, field).strip():
                yield f"The card of {name} has no {field}."
        if card.citation.strip() and not card.citation.lstrip().startswith("@"):
            yield f"The citation on the card of {name} is no BibTeX entry: it does not begin with @."
    if not dataclasses.is_dataclass(plugin) or not getattr(type(plugin), "__dataclass_params__").frozen:  # noqa: B009
        yield f"{name} is no frozen dataclass, whose fields are its configuration; write @dataclass(frozen=True)."
        return
    try:
        check_fields(plugin)
    except RequestError as error:
        yield str(error)
