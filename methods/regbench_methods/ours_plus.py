"""The prototype and contour method with two parts more: a variant of `ours` that goes beyond the paper's text.

The organs' masks say by their moments alone where each organ went: the network starts from there (`polyaffine`). And
attention without positions (equation 2 of Xu et al., IPMI 2025) says what the other scan looks like around a voxel, but
not where: here each level's field is made of the local correlation of the image and the mask features as well, as in
coarse-to-fine networks since PWC-Net (Sun et al., CVPR 2018). Losses, recipe and all else are those of `ours`.
"""

from dataclasses import dataclass
from typing import ClassVar

from regbench.api import Card
from regbench_methods.ours import Ours


@dataclass(frozen=True, kw_only=True)
class OursPlus(Ours):
    """`ours` that starts from the organs' affine motions, and whose fields see the local correlation of the scans."""

    card: ClassVar[Card] = Card(
        title="Ours+",
        summary="Ours, from the organs' affine motions on, with the local correlation of both streams at every level.",
        citation=Ours.card.citation,
        origin="Not in the paper: `ours` with two parts more.",
        licence=Ours.card.licence,
        differs=(
            "The network adds to the field of `polyaffine`, made of the same masks that it sees.",
            "At every level two convolutions join the fused features with the correlation at the 27 offsets of a "
            "voxel's neighbourhood, of the image features and of the mask features.",
            *Ours.card.differs,
        ),
    )

    correlation: bool = True
    polyaffine: bool = True
