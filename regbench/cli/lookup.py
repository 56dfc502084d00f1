"""Plugins and protocols by name, for commands that need one."""

from collections.abc import Sequence
from pathlib import Path

from regbench.api import Protocol, Task
from regbench.errors import UnknownNameError
from regbench.registry import Registry


def find_task(name: str, files: Sequence[Path] | None) -> Task:
    """A task at its defaults.

    Raises:
        UnknownNameError, PluginError: if it cannot be had.
    """
    task: Task = Registry(files or []).load("task", name)()
    return task


def find_protocol(name: str, task: Task, protocol: str | None) -> Protocol:
    """A task's protocol, or its default one.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    protocols = task.protocols()
    wanted = protocol or task.default_protocol
    if wanted not in protocols:
        raise UnknownNameError(f"protocol of the task {name}", wanted, protocols)
    return protocols[wanted]
