"""Volumes in blocks of planes: on a CPU a block's intermediate results stay in the cache."""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

POINTS = 32768
"""Points of a block on a CPU: a few float32 buffers of this size share a core's cache, and torch does not start threads
for so few, which cost more than they save."""


EXACT_IN_FLOAT32 = 2**24
"""Whole numbers below this are exact in float32: flat indices of volumes with fewer voxels."""


def plane_blocks(shape: Sequence[int], device: torch.device) -> Iterator[slice]:
    """Slices of the first axis that cover a volume of that shape; on an accelerator a single one."""
    planes, plane = shape[0], max(1, prod(shape[1:]))
    thickness = max(1, POINTS // plane) if device.type == "cpu" else max(1, planes)
    for start in range(0, planes, thickness):
        yield slice(start, min(start + thickness, planes))


class Workspace:
    """Buffers by name that live from block to block: asking the system for memory takes longer than filling it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[str, tuple[Tensor, tuple[Tensor, ...]]] = {}

    def rows(self, name: str, count: int, length: int, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The (count, length) buffer of that name as it was left, and its rows; a new one if the length has changed."""
        found = self._buffers.get(name)
        if found is None or found[0].shape[1] != length:
            buffer = torch.empty(count, length, dtype=dtype, device=self._device)
            found = self._buffers[name] = buffer, buffer.unbind(0)
        return found
