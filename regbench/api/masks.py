"""A mask source: label maps for the scans of a cohort."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import torch

from regbench.api.card import Card
from regbench.api.geometry import Volume
from regbench.api.progress import Progress, Silent


@dataclass(frozen=True)
class MaskRequest:
    """What a mask source is given.

    Attributes:
        scans: scan id → preprocessed scan, for which masks are wanted.
        sources: scan id → the scan's image file on disk, for sources that drive another program.
        labels: number → name of the structures.
        training_labels: scan id → true label map, of the training side only.
        truth: scan id → true label map of every scan; None unless the source declares `saw_test_labels`.
        workspace: a folder of the source's own, where it may keep checkpoints; the same at a later call.
        device: where to compute.
        seed: of everything random.
        modality: "ct" or "mr".
        progress: who is told how far it has come, within a phase "masks" that counts scans: a source that trains first
            starts a phase "train" of its own.
    """

    scans: Mapping[str, Volume]
    sources: Mapping[str, Path]
    labels: Mapping[int, str]
    training_labels: Mapping[str, Volume]
    truth: Mapping[str, Volume] | None
    workspace: Path
    device: torch.device
    seed: int
    modality: str
    progress: Progress = field(default_factory=Silent)


class MaskSource(ABC):
    """Makes label maps. Subclass it as a frozen dataclass: its fields are its configuration.

    Attributes:
        card: what a reader of its numbers has to know; `card.trained_on` if it brings weights.
        saw_test_images: its weights may have seen the test scans.
        saw_test_labels: it looks at the labels of the test scans: an upper bound, not a result.
        quick: fields that the quick preset sets, where the defaults would take a CPU too long; a user's setting wins.
    """

    card: ClassVar[Card]
    saw_test_images: ClassVar[bool]
    saw_test_labels: ClassVar[bool]
    quick: ClassVar[Mapping[str, object]] = MappingProxyType({})

    @abstractmethod
    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Scan id → label map (unsigned 8 bit) on the scan's grid, for every scan of the request."""
