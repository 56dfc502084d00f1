"""Packages that give their names without importing what stands behind them: a board is printed without torch."""

import ast
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def lazily(package: str) -> Callable[[str], object]:
    """The `__getattr__` of a package that imports its names under `if TYPE_CHECKING`, for type checkers only.

    Those imports alone say where a name is from. They are read when the first name is asked for, which takes a
    millisecond, and each is carried out when its own name is.

    Args:
        package: its `__name__`; its `__init__.py` has to be at hand.
    """

    @cache
    def homes() -> Mapping[str, str]:
        spec = find_spec(package)
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        imports = [one for block in ast.parse(source).body if isinstance(block, ast.If) for one in block.body]
        return {name.name: one.module or "" for one in imports if isinstance(one, ast.ImportFrom) for name in one.names}

    def named(name: str) -> object:
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes()[name]), name)

    return named
