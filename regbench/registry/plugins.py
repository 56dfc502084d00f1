"""Plugins are found by entry point or in a file, and imported only when asked for."""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from regbench.errors import PluginError, RequestError, UnknownNameError
from regbench.registry.configure import configure

Kind = Literal["method", "task", "metric", "masks"]

GROUPS: Mapping[Kind, str] = {
    "method": "regbench.methods",
    "task": "regbench.tasks",
    "metric": "regbench.metrics",
    "masks": "regbench.masks",
}

NOUNS: Mapping[Kind, str] = {"method": "method", "task": "task", "metric": "metric", "masks": "mask source"}
_BASES: Mapping[Kind, str] = {"method": "Method", "task": "Task", "metric": "Metric", "masks": "MaskSource"}


def _base(kind: Kind) -> type[Any]:
    """The class that a kind's plugins derive from; imported late, so that names can be listed without torch."""
    base: type[Any] = getattr(importlib.import_module("regbench.api"), _BASES[kind])
    return base


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found and not necessarily imported.

    Attributes:
        kind: what it is.
        name: its name in the registry.
        distribution: the distribution that brings it, or the file's name.
        version: the distribution's version; for a file, a digest of its content.
        target: where the class stands: "module:Class".
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    target: str

    def load(self) -> type[Any]:
        """The plugin's class.

        Raises:
            PluginError: if it does not import, is not of its kind, or lacks what its kind asks for.
        """
        module, _, attribute = self.target.partition(":")
        subject = f"The {NOUNS[self.kind]} '{self.name}' of {self.distribution}"
        try:
            found: type[Any] = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{subject} does not import: {type(error).__name__}: {error}") from error
        fault = _fault(found, _base(self.kind))
        if fault:
            raise PluginError(f"{subject} {fault}.")
        return found


class Registry:
    """All plugins at hand. First-party ones are found as everybody's are."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        """Look at the entry points of what is installed, and at plugin files.

        Args:
            files: Python files; each concrete plugin class in one is registered under its name in kebab case.

        Raises:
            PluginError: if a file does not import or holds no plugin.
        """
        self._found: dict[Kind, dict[str, list[Plugin]]] = {kind: {} for kind in GROUPS}
        for kind, group in GROUPS.items():
            for entry in entry_points(group=group):
                self._add(_from_entry_point(kind, entry))
        for file in files:
            for plugin in _from_file(file):
                self._add(plugin)

    def _add(self, plugin: Plugin) -> None:
        namesakes = self._found[plugin.kind].setdefault(plugin.name, [])
        if plugin not in namesakes:
            namesakes.append(plugin)

    def names(self, kind: Kind) -> list[str]:
        """The names of a kind, sorted; nothing is imported."""
        return sorted(self._found[kind])

    def plugin(self, kind: Kind, name: str) -> Plugin:
        """The plugin of that name, not imported.

        Raises:
            UnknownNameError: if there is none.
            PluginError: if two distributions bring one of that name.
        """
        namesakes = self._found[kind].get(name)
        if not namesakes:
            raise UnknownNameError(NOUNS[kind], name, self._found[kind])
        if len(namesakes) > 1:
            owners = " and ".join(f"{plugin.distribution} ({plugin.target})" for plugin in namesakes)
            raise PluginError(f"Two {NOUNS[kind]}s are called '{name}': {owners}; uninstall or rename one of them.")
        return namesakes[0]

    def load(self, kind: Kind, name: str) -> type[Any]:
        """The class of that name.

        Raises:
            UnknownNameError: if there is none.
            PluginError: if it cannot be used.
        """
        return self.plugin(kind, name).load()

    def broken(self, kind: Kind) -> Mapping[str, str]:
        """Name → reason of every plugin of a kind that cannot be used."""
        reasons = {}
        for name in self.names(kind):
            try:
                configure(self.load(kind, name), {})
            except RequestError as error:
                reasons[name] = str(error)
        return reasons


def _fault(found: Any, base: type[Any]) -> str | None:
    """What keeps something from being a plugin, as the end of a sentence; None if it is one."""
    if not (isinstance(found, type) and issubclass(found, base)):
        return f"is no subclass of regbench.api.{base.__name__}"
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    missing = [*abstract, *(name for name in base.__annotations__ if not hasattr(found, name))]
    if missing:
        return f"does not define: {', '.join(missing)}"
    card = getattr(found, "card", None)
    if not isinstance(card, importlib.import_module("regbench.api").Card):
        return f"has a {type(card).__name__} for its card; expected a regbench.api.Card"
    if not dataclasses.is_dataclass(found):
        return "is no dataclass, whose fields are its configuration; write @dataclass(frozen=True) above it"
    if taken := [f.name for f in dataclasses.fields(found) if f.name in base.__annotations__]:
        return f"makes fields of what is the class's own: {', '.join(taken)}; annotate them as ClassVar"
    nothing = dataclasses.MISSING
    bare = [f.name for f in dataclasses.fields(found) if f.init and f.default is f.default_factory is nothing]
    return f"has fields without a default: {', '.join(bare)}" if bare else None


def _from_entry_point(kind: Kind, entry: EntryPoint) -> Plugin:
    owner = entry.dist
    return Plugin(
        kind=kind,
        name=entry.name,
        distribution=owner.name if owner else "unknown",
        version=owner.version if owner else "",
        target=entry.value,
    )


def _from_file(file: Path) -> list[Plugin]:
    module, digest = _import_file(file)
    plugins = [
        Plugin(kind, _kebab(name), file.name, digest, f"{module.__name__}:{name}")
        for name, found in vars(module).items()
        if isinstance(found, type) and found.__module__ == module.__name__ and not inspect.isabstract(found)
        for kind in GROUPS
        if issubclass(found, _base(kind))
    ]
    if not plugins:
        kinds = ", ".join(_BASES.values())
        said = "; ".join(_unfinished(module))
        raise PluginError(f"{file} holds no plugin: {said or f'expected a concrete subclass of one of {kinds}'}.")
    return plugins


def _unfinished(module: ModuleType) -> list[str]:
    """What the classes that would be plugins still lack, each as a clause."""
    return [
        f"{name} does not define {', '.join(sorted(found.__abstractmethods__))}, which a {_BASES[kind]} has to"
        for name, found in vars(module).items()
        if inspect.isabstract(found) and found.__module__ == module.__name__
        for kind in GROUPS
        if issubclass(found, _base(kind))
    ]


def _import_file(file: Path) -> tuple[ModuleType, str]:
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise PluginError(f"The plugin file {file} cannot be read: {error.strerror}.") from error
    name = f"regbench_plugin_{re.sub(r'[^0-9a-zA-Z]', '_', file.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name], digest
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"The plugin file {file} is no Python file; expected a name that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"The plugin file {file} does not import: {type(error).__name__}: {error}") from error
    return module, digest


def _kebab(name: str) -> str:
    """A class name as a plugin name.

    >>> _kebab("MyMethod"), _kebab("HD95")
    ('my-method', 'hd95')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
