"""Fill in the templates of `regbench new`."""

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template

from regbench import __version__
from regbench.data import replacing_folder, write_text
from regbench.errors import BadValueError, StorageError
from regbench.registry import GROUPS, NOUNS, Kind, Registry

_SUFFIX = ".template"


def write_package(kind: Kind, name: str, folder: Path) -> Path:
    """Write a package with one plugin.

    Args:
        kind: of the plugin.
        name: the plugin's name.
        folder: where the package's folder is made, under the plugin's name.

    Returns:
        The package's folder.

    Raises:
        BadValueError: for a name that cannot be used, or is taken.
        StorageError: if the folder exists.
    """
    module = name.replace("-", "_")
    package = f"regbench_{module}"
    cls = "".join(part.capitalize() for part in name.split("-"))
    _check_name(kind, name, package, cls)
    target = folder / name
    if target.exists():
        raise StorageError(f"{target} exists; choose another name or another --dir.")
    words = {
        "kind": kind,
        "noun": NOUNS[kind],
        "group": GROUPS[kind],
        "name": name,
        "module": module,
        "package": package,
        "cls": cls,
        "version": ".".join(__version__.split(".")[:2]),
    }
    with replacing_folder(target) as temporary:
        for template in ("common", kind):
            _fill(files("regbench.cli").joinpath("templates", template), temporary, words)
    return target


def _check_name(kind: Kind, name: str, package: str, cls: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise BadValueError(f"A {NOUNS[kind]}'s name is lower case with hyphens, such as my-{kind}, not '{name}'.")
    if name == "all" or keyword.iskeyword(cls) or cls in _words_of(kind):
        raise BadValueError(f"'{name}' means something else already; choose another name, such as my-{kind}.")
    if name in Registry().names(kind):
        raise BadValueError(f"There is a {NOUNS[kind]} called '{name}' already; choose another name.")
    if find_spec(package):
        raise BadValueError(f"There is a package called '{package}' already; choose another name.")


def _words_of(kind: Kind) -> list[str]:
    """The names in the template of a kind's module, which a class of the same name would hide."""
    module = files("regbench.cli").joinpath("templates", kind, "src", "$package", f"__init__.py{_SUFFIX}")
    return re.findall(r"\w+", module.read_text(encoding="utf-8"))


def _fill(template: Traversable, target: Path, words: dict[str, str]) -> None:
    for item in template.iterdir():
        path = target / Template(item.name.removesuffix(_SUFFIX)).substitute(words)
        if item.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            _fill(item, path, words)
        elif item.name.endswith(_SUFFIX):
            write_text(path, Template(item.read_text(encoding="utf-8")).substitute(words))
