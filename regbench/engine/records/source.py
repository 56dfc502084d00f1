"""The files that a plugin's class is written in."""

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec, resolve_name
from pathlib import Path

_HARNESS = "regbench"


def source_digest(plugin: type) -> str:
    """A digest of the class's module and of all modules of the same package that it imports, directly or not.

    A version tells two releases apart, but not two states of a package that is being worked on. Of the harness, only
    the room that brings the class counts: what its plugins stand on is told apart by its version.
    """
    files = _files(plugin.__module__)
    lines = [f"{module}:{hashlib.sha256(files[module].read_bytes()).hexdigest()}\n" for module in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(module: str) -> dict[str, Path]:
    """Module name → file."""
    parts = module.split(".")
    scope = ".".join(parts[: 2 if parts[0] == _HARNESS else 1])
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if name in found or file is None:
            continue
        found[name] = file
        own = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [other for other in _imported(file, own) if f"{other}.".startswith(f"{scope}.")]
    return found


def _file(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a name that is imported from a module and is none itself
        return None
    origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def _imported(file: Path, package: str) -> Iterator[str]:
    """Every name that may be a module; `package` is what a relative import starts from."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
