"""A metric: how far the field moves, on average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from regbench.api import Card, Case, Metric


@dataclass(frozen=True)
class MeanShift(Metric):
    """Mean length of the displacement."""

    card: ClassVar[Card] = Card(title="Mean shift", summary="Mean length of the displacement.")
    unit: ClassVar[str] = "mm"
    higher_is_better: ClassVar[bool] = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number of the whole case."""
        spacing = torch.tensor(case.field.grid.spacing_mm, device=case.field.displacement.device)
        return {None: float((case.field.displacement * spacing[:, None, None, None]).norm(dim=0).mean())}
