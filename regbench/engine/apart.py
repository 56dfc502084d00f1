"""What plugins are given: whatever they do to it, others find theirs as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from regbench.api import Grid, Volume
from regbench.results import MachineRecord

_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(
        (partial(getattr, torch.backends.cudnn, name), partial(setattr, torch.backends.cudnn, name))
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ),
)


def apart(volume: Volume) -> Volume:
    """The volume in memory of its own; a view into the cohort leads to every scan, the test side's labels as well."""
    return Volume(volume.data.clone(), Grid(volume.grid.shape, volume.grid.affine.copy()))


@contextmanager
def own_settings() -> Iterator[None]:
    """Torch's settings are as before when the block ends, whatever was set in it."""
    before = [_asked(get) for get, _ in _SETTINGS]
    try:
        yield
    finally:
        for (get, put), value in zip(_SETTINGS, before, strict=True):
            if value is not None and _asked(get) != value:
                put(value)


@contextmanager
def threads_of(machine: MachineRecord, device: torch.device) -> Iterator[None]:
    """On a CPU, as many threads as a run had, while the block lasts: sums in another order would round otherwise."""
    with own_settings():
        if machine.threads and device.type == "cpu":
            torch.set_num_threads(machine.threads)
        yield


def _asked(get: Callable[[], Any]) -> Any:
    """A setting; None where torch does not say, because it was set by its newer name (`fp32_precision`)."""
    try:
        return get()
    except RuntimeError:
        return None
