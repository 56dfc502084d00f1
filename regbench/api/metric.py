"""A metric: a pure function of one case."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from regbench.api.card import Card
from regbench.api.geometry import Field, Volume
from regbench.api.pair import Truth


@dataclass(frozen=True)
class Case:
    """One registered pair, as a metric sees it. All metrics of a case share what is computed once.

    Attributes:
        field: the result.
        truth: labels and landmarks.
        moved_labels: the moving label map warped by the protocol's rule (nearest neighbour).
        determinant: (i − 4, j − 4, k − 4) det(I + ∇u) by central differences, two voxels cropped on each side.
        reverse: the field of the pair with the roles exchanged, where that was run; or None.
    """

    field: Field
    truth: Truth
    moved_labels: Volume
    determinant: Float[Tensor, "a b c"]
    reverse: Field | None = None


class Metric(ABC):
    """A number, or a number a label, of one case. Subclass it as a frozen dataclass: its fields are its configuration.

    Attributes:
        card: what a reader of its numbers has to know.
        unit: "%", "mm", "voxel", or "" for a pure number.
        higher_is_better: which way is up.
        digits: decimals in a table.
    """

    card: ClassVar[Card]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool]
    digits: ClassVar[int] = 2

    @abstractmethod
    def measure(self, case: Case) -> Mapping[int | None, float]:
        """The case's values: label number → value, or None → value for a number of the whole case.

        A label that cannot be scored (absent from a scan) is left out; an empty mapping says that nothing could be.
        """
