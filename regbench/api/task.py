"""A task: where the scans of a cohort lie, and the protocols that are defined on them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regbench.api.card import Card
from regbench.api.grid import Shape
from regbench.api.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan's files.

    Attributes:
        id: "PATIENT" or "PATIENT/FRAME".
        image: NIfTI file.
        labels: NIfTI file of its label map, or None.
        landmarks: CSV file (columns name, x, y, z: millimetres in RAS+), or None; names correspond between scans.
    """

    id: str
    image: Path
    labels: Path | None = None
    landmarks: Path | None = None


class Task(ABC):
    """A registration problem with its data. Subclass it as a frozen dataclass: its fields are its configuration.

    Attributes:
        card: what a reader of its numbers has to know.
        modality: "ct" or "mr".
        default_protocol: the protocol that is meant where real data is given and none is named.
    """

    card: ClassVar[Card]
    modality: ClassVar[str]
    default_protocol: ClassVar[str]

    @abstractmethod
    def protocols(self) -> Mapping[str, Protocol]:
        """Every protocol by name; "phantom" is the one of the embedded cohort."""

    @abstractmethod
    def scans(self, folder: Path) -> Mapping[str, Scan]:
        """The scans of a folder in the official layout, by scan id; files are found, not read.

        Raises:
            regbench.errors.DataError: with every fault of the layout itself (what the folder lacks, what contradicts).
        """

    @abstractmethod
    def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
        """Write a synthetic cohort in the official layout, with landmarks; the same arguments give the same bytes."""
