"""Labels spoiled to a stated overlap with the truth: how good must masks be for a method to gain from them?"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import Field
from scipy.ndimage import distance_transform_edt, gaussian_filter

from regbench.api import Card, MaskRequest, MaskSource, Volume
from regbench.masks.request import truth_of

# Xu et al., IPMI 2025, tables 1 and 2, the rows of SAM's own masks.
_PAPER = {
    "spleen": 0.928, "right kidney": 0.881, "left kidney": 0.895, "esophagus": 0.722, "liver": 0.955, "stomach": 0.894,
    "aorta": 0.884, "inferior vena cava": 0.845, "portal and splenic vein": 0.685, "pancreas": 0.797,
    "right adrenal gland": 0.642, "left adrenal gland": 0.626,
    "left ventricle": 0.892, "myocardium": 0.792, "right ventricle": 0.762,
}  # fmt: skip
_PAPER_MEAN = 0.812
_ROUNDS, _HALVINGS = 3, 14
_SMOOTH_VOXELS, _MARGIN_VOXELS = 2.0, 12


@dataclass(frozen=True)
class DegradedMasks(MaskSource):
    """True labels with their boundaries moved at random until each organ overlaps the truth as much as is asked.

    A smooth random field is added to each organ's signed distance to its boundary; where it is strong, parts go
    missing, grow, or run into a neighbour. Its strength is found by bisection, for every organ of every scan.

    Attributes:
        quality: the Dice that each organ is to have with its truth, in (0, 1]; none: what the masks of the foundation
            model had in Xu et al., IPMI 2025 (0.812 for a structure that is not in their tables).
    """

    card: ClassVar[Card] = Card(
        title="Degraded truth",
        summary="Labels of every scan, test scans included, spoiled at their boundaries to a stated Dice.",
        origin="The cohort's own label maps.",
        differs=("An upper bound for masks of that quality: its errors know nothing of the image.",),
    )
    saw_test_images: ClassVar[bool] = True
    saw_test_labels: ClassVar[bool] = True

    quality: Annotated[float, Field(gt=0.3, le=1)] | None = None

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Each scan's labels, spoiled; the same request gives the same masks."""
        return {scan: self._degrade(request, scan) for scan in request.scans}

    def _degrade(self, request: MaskRequest, scan: str) -> Volume:
        truth = truth_of(request, scan)
        labels = truth.data.cpu().numpy()
        targets = {
            label: self.quality or _PAPER.get(name, _PAPER_MEAN)
            for label, name in request.labels.items()
            if (labels == label).any()
        }
        spoiled = degrade(labels, targets, seed=_seed(request.seed, scan))
        return Volume(torch.from_numpy(spoiled).to(truth.data.device), truth.grid)


def _seed(seed: int, scan: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {scan}".encode()).digest()[:8])


@dataclass(frozen=True)
class _Organ:
    """One organ in a window around it.

    Attributes:
        window: where the arrays lie in the volume.
        inside: the truth.
        distance: voxels to the boundary, negative inside.
        noise: smooth, zero mean, unit variance.
    """

    window: tuple[slice, slice, slice]
    inside: Bool[np.ndarray, "a b c"]
    distance: Float[np.ndarray, "a b c"]
    noise: Float[np.ndarray, "a b c"]

    def claim(self, strength: float) -> Float[np.ndarray, "a b c"]:
        """Negative where the spoiled organ wants to be, the more so the surer it is."""
        return self.distance + np.float32(strength) * self.noise


def degrade(
    labels: UInt8[np.ndarray, "i j k"], targets: Mapping[int, float], *, seed: int
) -> UInt8[np.ndarray, "i j k"]:
    """A label map in which each organ has about the stated Dice with the one that is given.

    Args:
        labels: the truth.
        targets: label → Dice; labels that are not named become background.
        seed: of the noise.

    Returns:
        The spoiled label map; an organ so small that no mask has the stated Dice gets the nearest that was found.
    """
    random = np.random.default_rng(seed)
    organs = {label: _organ(labels == label, random) for label in targets}
    strengths = dict.fromkeys(targets, 0.0)
    # Organs compete for voxels, so the strengths are found in turns until all hold together.
    for _ in range(_ROUNDS):
        for label, target in targets.items():
            rivals = _rivals(labels.shape, organs, strengths, label)
            strengths[label] = _strength(organs[label], rivals, target)
    return _assign(labels.shape, organs, strengths)


def _organ(inside: Bool[np.ndarray, "i j k"], random: np.random.Generator) -> _Organ:
    found = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    i, j, k = (
        slice(max(0, at[0] - _MARGIN_VOXELS), min(n, at[-1] + _MARGIN_VOXELS + 1))
        for at, n in zip(found, inside.shape, strict=True)
    )
    crop = inside[i, j, k]
    distance = distance_transform_edt(~crop) - distance_transform_edt(crop)
    noise = gaussian_filter(random.standard_normal(crop.shape), _SMOOTH_VOXELS, mode="nearest")
    return _Organ((i, j, k), crop, distance.astype(np.float32), (noise / noise.std()).astype(np.float32))


def _rivals(
    shape: tuple[int, ...], organs: Mapping[int, _Organ], strengths: Mapping[int, float], label: int
) -> Float[np.ndarray, "a b c"]:
    """The strongest claim of all other organs in one organ's window."""
    strongest = np.full(shape, np.inf, np.float32)
    for other, organ in organs.items():
        if other != label:
            part = strongest[organ.window]
            np.minimum(part, organ.claim(strengths[other]), out=part)
    return strongest[organs[label].window]


def _strength(organ: _Organ, rivals: Float[np.ndarray, "a b c"], target: float) -> float:
    """How strong the noise has to be for the stated Dice, by bisection."""
    low, high = 0.0, float(_MARGIN_VOXELS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        claim = organ.claim(middle)
        mask = (claim < 0) & (claim < rivals)
        dice = 2 * np.count_nonzero(mask & organ.inside) / (np.count_nonzero(mask) + np.count_nonzero(organ.inside))
        low, high = (middle, high) if dice > target else (low, middle)
    return low


def _assign(
    shape: tuple[int, ...], organs: Mapping[int, _Organ], strengths: Mapping[int, float]
) -> UInt8[np.ndarray, "i j k"]:
    strongest, spoiled = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for label, organ in organs.items():
        claim, part = organ.claim(strengths[label]), strongest[organ.window]
        wins = claim < part
        part[wins] = claim[wins]
        spoiled[organ.window][wins] = label
    return spoiled
