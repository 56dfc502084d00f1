"""The prototype and contour method with what masks and correlation can add: a variant beyond the paper's text.

The organs' masks say by their moments alone where each organ went: the network starts from there (`polyaffine`), unless
that makes the scans less alike. And attention without positions (equation 2 of Xu et al., IPMI 2025) says what the
other scan looks like around a voxel, but not where: here each level's field is made of the local correlation of the
image and the mask features as well, as in coarse-to-fine networks since PWC-Net (Sun et al., CVPR 2018).

What is tied to prototypes tells the voxels of an organ apart no more, which correlation lives by: no prototypes here.
And squared distances are ruled by the outlines of wrong masks, which lie farthest apart: here long ones count less.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regbench.api import Batch, Card
from regbench.spatial import warp
from regbench_methods.ours import Ours


@dataclass(frozen=True, kw_only=True)
class OursPlus(Ours):
    """`ours` that starts from the organs' affine motions, sees local correlation, and trusts masks less.

    Attributes:
        judged: start from the organs' motions only where the scans are more alike after them.
        contour_reach_mm: distances between contours well beyond it count as if they were as long as it; none: they
            count with their squares, as in the text.
    """

    card: ClassVar[Card] = Card(
        title="Ours+",
        summary="Ours, from the organs' affine motions on, with the local correlation of both streams at every level.",
        citation=Ours.card.citation,
        origin="Not in the paper: `ours` with three parts more and one less.",
        licence=Ours.card.licence,
        differs=(
            "The network adds to the field of `polyaffine`, made of the same masks that it sees, where the mean "
            "squared difference of the scans is less after it.",
            "At every level two convolutions join the fused features with the correlation at the 27 offsets of a "
            "voxel's neighbourhood, of the image features and of the mask features.",
            "No prototype loss unless prototype=true: with local correlation it costs accuracy.",
            "The contour's squared distances d² count as d² / (1 + d² / r²), with r = 10 mm: masks can be wrong.",
            *Ours.card.differs,
        ),
    )

    correlation: bool = True
    polyaffine: bool = True
    prototype: bool = False
    judged: bool = True
    contour_reach_mm: Annotated[float, Field(gt=0)] | None = 10.0

    @property
    def _reach_mm(self) -> float | None:
        return self.contour_reach_mm

    def _start(self, batch: Batch) -> Float[Tensor, "b 3 i j k"] | None:
        start = super()._start(batch)
        if start is None or not self.judged:
            return start
        better = _difference(batch, warp(batch.moving, start)) < _difference(batch, batch.moving)
        return torch.where(better, start, torch.zeros_like(start))


def _difference(batch: Batch, moved: Float[Tensor, "b 1 i j k"]) -> Float[Tensor, "b 1 1 1 1"]:
    return (batch.fixed - moved).square().mean((1, 2, 3, 4), keepdim=True)
