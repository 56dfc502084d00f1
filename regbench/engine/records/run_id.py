"""What a run is told apart by: all that could change a score, and the seed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

import regbench
from regbench.api import MaskSource, Method, Protocol, Task
from regbench.data import fingerprint
from regbench.engine.evaluation.refinement import REVISION
from regbench.engine.plan import Chosen, Plan
from regbench.engine.records.source import source_digest
from regbench.registry import changed, configuration

_VERSION = 1
_LENGTH = 12


def digest(data: Any) -> str:
    """A digest of JSON data, the same whatever the order of its keys.

    >>> digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(to_jsonable_python(data), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def data_fingerprint(plan: Plan) -> str:
    """A digest of the content of every file that the protocol uses.

    Raises:
        DataError: if the folder is not in the official layout.
    """
    found = plan.task.scans(plan.folder)
    wanted = plan.protocol.train + plan.protocol.test
    return fingerprint(found[scan] for scan in wanted if scan in found)


def pairs_digest(protocol: Protocol) -> str:
    """A digest of the three lists of pairs."""
    return digest([protocol.train_pairs, protocol.validation_pairs, protocol.test_pairs])


def run_id(plan: Plan, data: str) -> str:
    """The run's id.

    It does not depend on the machine (but on the kind of device and the precision), on names of folders and files, on
    the metrics, or on what is kept and how often.

    Args:
        plan: what is to be run.
        data: the data's fingerprint.
    """
    masks = plan.masks if plan.mask_use else None
    return digest(
        {
            "version": _VERSION,
            "regbench": regbench.__version__,
            "task": plan.task_name,
            "kind": plan.data,
            "data": data,
            "protocol": plan.protocol.decisive(),
            "method": plugin_identity(plan.method),
            "masks": masks and plugin_identity(masks),
            "recipe": plan.recipe,
            "steps": plan.steps,
            "budget_seconds": plan.budget_seconds,
            "seed": plan.seed,
            "device": plan.device.type,
            "precision": plan.precision,
            **({"refine": [plan.refine, REVISION]} if plan.refine else {}),
            **({"settings": settings} if (settings := task_settings(plan.task)) else {}),
        }
    )[:_LENGTH]


def plugin_identity(chosen: Chosen[Any]) -> dict[str, Any]:
    """What tells a configured plugin apart: its names, version, source and fields; of a path, what lies there."""
    plugin, instance = chosen.plugin, chosen.instance
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "source": source_digest(type(instance)),
        "configuration": _by_content(instance),
    }


def task_settings(task: Task) -> dict[str, Any]:
    """The fields of a task that differ from their defaults; of a path, what lies there."""
    values = _by_content(task)
    return {name: values[name] for name in changed(task)}


def _by_content(instance: Method | MaskSource | Task) -> dict[str, Any]:
    values = configuration(instance)
    for name in values:
        value = getattr(instance, name)
        if isinstance(value, Path):
            values[name] = content_digest(value)
    return values


def content_digest(path: Path) -> str:
    """A digest of a file, or of every file below a folder with its place there; hidden ones do not count."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return "nothing"
    below = [(file.relative_to(path), file) for file in sorted(path.rglob("*")) if file.is_file()]
    shown = [(place, file) for place, file in below if not _is_hidden(place)]
    return digest([[place.as_posix(), content_digest(file)] for place, file in shown])


def _is_hidden(place: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in place.parts)
