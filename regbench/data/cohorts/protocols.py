"""Protocol files: package data of the distribution that brings a task."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from regbench.api import Protocol


@cache
def read_protocols(package: str, task: str) -> Mapping[str, Protocol]:
    """The protocols of a task by name, from the files `protocols/TASK-NAME.json` of a package.

    Args:
        package: the import name of the package that holds the files.
        task: the task's name.

    Raises:
        pydantic.ValidationError: for a file that is no protocol.
    """
    folder = files(package).joinpath("protocols")
    found = [
        Protocol.model_validate_json(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.startswith(f"{task}-") and file.name.endswith(".json")
    ]
    return {protocol.name: protocol for protocol in found}
