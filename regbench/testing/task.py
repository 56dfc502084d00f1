"""The contract of a task."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from regbench.api import Protocol, Shape, Task
from regbench.data import check, read_volume
from regbench.errors import DataError
from regbench.testing.faults import card_faults, gather, instance_of

_PHANTOM = "phantom"
_SMALLEST = 16
_SHRINK = 2


def check_task(task: str | type[Task] | Task) -> list[str]:
    """The faults of a task, one sentence each.

    Looked at: the card; the protocols, their names, labels and the default one; that a folder without scans is refused
    with a DataError; and the phantom cohort: the same seed gives the same bytes and another seed others, all scans of
    the protocol "phantom" are there, in the official layout and of the shape that was asked for, with landmarks, and
    `regbench.data.check` finds nothing wrong.

    Args:
        task: its class, an instance, or its name in the registry.

    Raises:
        RequestError: if it cannot be set up here.
    """
    one: Task = instance_of("task", task)
    return gather(
        one,
        [("its card was read", partial(card_faults, one)), ("its form was read", partial(_form, one))],
        [
            ("it looked at an empty folder", partial(_empty_folder, one)),
            ("its phantoms were made", partial(_phantoms, one)),
        ],
    )


def _form(task: Task) -> Iterator[str]:
    if task.modality not in ("ct", "mr"):
        yield f"`modality` is {task.modality!r}; expected 'ct' or 'mr'."
    protocols = task.protocols()
    for name in (task.default_protocol, _PHANTOM):
        if name not in protocols:
            yield f"There is no protocol '{name}'; known: {', '.join(protocols)}."
    for name, protocol in protocols.items():
        yield from _protocol_faults(name, protocol)
    if len({protocol.task for protocol in protocols.values()}) > 1:
        yield "Its protocols name different tasks."


def _protocol_faults(name: str, protocol: Protocol) -> Iterator[str]:
    if protocol.name != name:
        yield f"The protocol '{name}' calls itself '{protocol.name}'."
    if not protocol.test_pairs or not protocol.train_pairs:
        yield f"The protocol '{name}' has no {'test' if protocol.train_pairs else 'training'} pairs."
    if not protocol.labels or not all(0 < label < 256 for label in protocol.labels):
        yield f"The labels of the protocol '{name}' are {list(protocol.labels)}; expected some between 1 and 255."
    if len(set(protocol.test_pairs)) != len(protocol.test_pairs):
        yield f"The protocol '{name}' scores a pair twice."


def _empty_folder(task: Task) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            task.scans(Path(folder))
        except DataError:
            return
        yield "An empty folder is taken for one with scans; raise a DataError that says what is missing."


def _phantoms(task: Task) -> Iterator[str]:
    protocol = task.protocols()[_PHANTOM]
    shape = _small(protocol.quick_shape)
    with tempfile.TemporaryDirectory() as root:
        one, same, other = (Path(root) / name for name in ("one", "same", "other"))
        task.phantom(one, cases=len(protocol.patients), seed=0, shape=shape)
        task.phantom(same, cases=1, seed=0, shape=shape)
        task.phantom(other, cases=1, seed=1, shape=shape)
        yield from _byte_faults(one, same, other)
        yield from (f"A phantom cohort has a fault: {fault}" for fault in check(task, one, protocol))
        yield from _scan_faults(task, one, protocol, shape)


def _byte_faults(one: Path, same: Path, other: Path) -> Iterator[str]:
    """The first patient is the same whatever the number of patients, and another one with another seed."""
    images = {file.relative_to(same) for file in same.rglob("*.nii*")}
    if any(not (one / name).is_file() or (one / name).read_bytes() != (same / name).read_bytes() for name in images):
        yield "The same seed gives a phantom other bytes a second time, or in a cohort of another size."
    if all((other / name).is_file() and (other / name).read_bytes() == (same / name).read_bytes() for name in images):
        yield "Another seed gives the same phantom."


def _scan_faults(task: Task, folder: Path, protocol: Protocol, shape: Shape) -> Iterator[str]:
    scans = task.scans(folder)
    missing = [scan for scan in (*protocol.train, *protocol.test) if scan not in scans]
    if missing:
        yield f"The phantom cohort lacks the scans {', '.join(missing)} of the protocol '{_PHANTOM}'."
        return
    scan = scans[protocol.test[0]]
    found = read_volume(scan.image).grid.shape
    if found != shape:
        yield f"A phantom of shape {shape} was asked for; {scan.image.name} has {found}."
    if scan.labels is None:
        yield f"The phantom {scan.id} has no label map."
    if scan.landmarks is None:
        yield f"The phantom {scan.id} has no landmarks; without them there is no TRE."


def _small(shape: Shape) -> Shape:
    i, j, k = (max(_SMALLEST, n // _SHRINK) for n in shape)
    return i, j, k
