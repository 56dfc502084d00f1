"""The row that every other row is read against: no registration."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from regbench.api import Card, Field, Method, Pair


@dataclass(frozen=True)
class Identity(Method):
    """A field of zeros."""

    card: ClassVar[Card] = Card(
        title="Initial",
        summary="No registration: the pair as it comes, after the protocol's preprocessing.",
    )

    def register(self, pair: Pair) -> Field:
        """Zeros on the fixed grid."""
        return Field(torch.zeros(3, *pair.grid.shape, device=pair.fixed.data.device), pair.grid)
