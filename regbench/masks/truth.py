"""The labels themselves as masks: what a method could reach if the masks were perfect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from regbench.api import Card, MaskRequest, MaskSource, Volume
from regbench.masks.request import truth_of


@dataclass(frozen=True)
class TruthMasks(MaskSource):
    """The true label maps of training and test scans: an upper bound, not a result."""

    card: ClassVar[Card] = Card(
        title="Truth",
        summary="The hand-made labels of every scan, test scans included: an upper bound, not a result.",
        origin="The cohort's own label maps.",
    )
    saw_test_images: ClassVar[bool] = True
    saw_test_labels: ClassVar[bool] = True

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Each scan's own labels."""
        return {scan: truth_of(request, scan) for scan in request.scans}
