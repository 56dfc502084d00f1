"""A method: shift by the difference of the centres of brightness."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.api import Card, Field, Method, Pair


@dataclass(frozen=True)
class Centroid(Method):
    """A rigid shift.

    Attributes:
        power: brighter voxels count more.
    """

    card: ClassVar[Card] = Card(
        title="Centroid",
        summary="Shifts the moving scan's centre of brightness onto the fixed scan's.",
        citation="@misc{centroid, title = {Centroid}, year = {2025}}",
    )

    power: float = 2.0

    def register(self, pair: Pair) -> Field:
        """The same displacement everywhere."""
        shift = self._centre(pair.moving.data) - self._centre(pair.fixed.data)
        return Field(shift[:, None, None, None].expand(3, *pair.grid.shape).clone(), pair.grid)

    def _centre(self, image: Float[Tensor, "i j k"]) -> Float[Tensor, " 3"]:
        weight = image.double() ** self.power
        axes = [torch.arange(n, dtype=torch.float64, device=image.device) for n in image.shape]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        return ((places * weight).sum((1, 2, 3)) / weight.sum().clamp_min(1e-9)).float()
