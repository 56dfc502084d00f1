"""What is wrong with a method's answer: its form, its direction."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.api import Field, Pair

_NOTHING = 1e-9
_DOMINANCE = 2.0


def field_faults(field: Any, pair: Pair) -> Iterator[str]:
    """What is wrong with the form of a result."""
    if not isinstance(field, Field):
        yield f"`register` gave a {type(field).__name__}; expected a regbench.api.Field."
        return
    if not isinstance(field.displacement, Tensor):
        yield f"The field holds a {type(field.displacement).__name__}; expected a torch.Tensor: see torch.from_numpy."
        return
    if field.displacement.device != pair.fixed.data.device:
        yield f"The field is on {field.displacement.device}, the scans are on {pair.fixed.data.device}; leave it there."
        return
    if not field.grid.matches(pair.grid):
        yield "The field lies on another grid than the fixed scan; give `pair.grid`."
    if field.displacement.dtype not in (torch.float32, torch.float64):
        yield f"The field is of {field.displacement.dtype}; expected torch.float32."
    if field.displacement.requires_grad:
        yield "The field carries gradients; register under torch.no_grad(), or detach it."
    if not torch.isfinite(field.displacement).all():
        yield "The field is not finite everywhere."


def direction_faults(mean: Float[Tensor, " 3"], axis: int, subject: str) -> Iterator[str]:
    """What a mean displacement says of sign and axes, where the right one points up the given axis.

    Args:
        mean: in voxels, or any multiple of it; nothing at all is no fault.
        axis: of the shift.
        subject: what is talked of.
    """
    size = mean.abs()
    if float(size.max()) < _NOTHING:
        return
    found = int(size.argmax())
    rest = max(float(size[other]) for other in range(3) if other != axis)
    if found != axis:
        yield (
            f"{subject} answers a shift along axis {axis} along axis {found}; component c of a displacement is along "
            "axis c of the array, in voxels."
        )
    elif float(size[axis]) < _DOMINANCE * rest:
        yield f"{subject} answers a shift along axis {axis} only little more along it than along another axis."
    elif mean[axis] < 0:
        yield (
            f"{subject} answers a shift along axis {axis} the wrong way; moved(x) = moving(x + u(x)), so what comes "
            "from higher indices has a positive u."
        )
