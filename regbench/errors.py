"""One tree of exceptions; every message says what was expected, what came, and what to do next.

RegbenchError
├── RequestError          the request itself is wrong: exit status 2
│   ├── UnknownNameError      no plugin, protocol, field or file of that name
│   ├── BadValueError         a value that cannot be used
│   ├── DataError             scans that cannot be used; carries every fault found
│   ├── PluginError           a plugin that does not import, or two of one name
│   ├── WeightsError          a weights file that does not fit
│   ├── DeviceError           a device that is asked for and is not there
│   └── StorageError          a folder that cannot be written, a record that cannot be read
│       └── CheckpointError       a checkpoint that no training can go on from
└── RunError              something that was asked for failed: exit status 1
    ├── DivergedError         a loss that is not finite
    └── BusyError             another process holds the run
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class RegbenchError(Exception):
    """The root of all errors that regbench raises on purpose."""


class RequestError(RegbenchError):
    """The request is wrong; nothing was started."""


class UnknownNameError(RequestError):
    """A name that nobody knows.

    >>> print(UnknownNameError("method", "voxelmorf", ["voxelmorph", "identity"]))
    There is no method called 'voxelmorf'; did you mean 'voxelmorph'? Known: identity, voxelmorph.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        nearest = get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
        listing = f" Known: {', '.join(choices)}." if choices else " None is known."
        super().__init__(f"There is no {kind} called '{name}'{hint}{listing}")


class BadValueError(RequestError):
    """A value that cannot be used."""


class DataError(RequestError):
    """Scans that cannot be used.

    Attributes:
        faults: one sentence a fault, each naming its file.
        usable: what could be read in spite of them, by name (scans by id), so that the rest can still be checked.
    """

    def __init__(self, faults: Sequence[str], usable: Mapping[str, Any] | None = None) -> None:
        self.faults = tuple(faults)
        self.usable = dict(usable or {})
        super().__init__("\n".join(self.faults))


class PluginError(RequestError):
    """A plugin that cannot be used."""


class WeightsError(RequestError):
    """A weights file that does not fit the network it was given to."""


class DeviceError(RequestError):
    """A device that is asked for and is not there."""


class StorageError(RequestError):
    """A folder that cannot be written, or a record that cannot be read."""


class CheckpointError(StorageError):
    """A checkpoint that no training can go on from."""


class RunError(RegbenchError):
    """Something that was asked for was tried and failed."""


class DivergedError(RunError):
    """A loss term that is not finite.

    Attributes:
        step: the training step at which it was seen.
        term: the name of the loss term.
    """

    def __init__(self, step: int, term: str, value: float) -> None:
        self.step, self.term = step, term
        super().__init__(
            f"Training diverged at step {step}: the loss term '{term}' is {value}. "
            "The last good weights are kept; try a lower learning rate, e.g. --set recipe.learning_rate=5e-5."
        )


class BusyError(RunError):
    """Another process holds the run."""


def lacks_memory(error: BaseException) -> bool:
    """Whether memory was not enough: Python's, a GPU's, or torch's on a CPU, which raises a mere RuntimeError."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, which is not imported for it
        or "DefaultCPUAllocator" in str(error)
    )
