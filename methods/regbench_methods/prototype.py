"""Prototypes: each organ's mean feature, and the losses that tie features to them.

Source: Xu et al., IPMI 2025, section 3.3, equations 3 to 6. The text leaves the feature level open, and whether the
background is a class; here it is one of the classes that the softmax runs over, and takes no part in the alignment.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

_EPSILON = 1e-8


@dataclass(frozen=True)
class Prototypes:
    """One prototype a class.

    Attributes:
        vectors: (k, c) mean feature of each class; zero for a class that is absent.
        present: (k,) whether the class has any voxel.
    """

    vectors: Float[Tensor, "k c"]
    present: Bool[Tensor, " k"]


def membership(
    mask: UInt8[Tensor, "i j k"], labels: tuple[int, ...], shape: tuple[int, int, int]
) -> Float[Tensor, "n v"]:
    """How much each voxel of a feature map belongs to each class: the background first, then the organs.

    Args:
        mask: label map at full resolution.
        labels: the organs' label numbers; whatever else the mask holds counts as background.
        shape: the feature map's shape; a coarser voxel belongs to a class by the share of it that the class fills, so
            that no organ is lost between two resolutions.

    Returns:
        (1 + organs, voxels) shares in [0, 1] that sum to 1 over the classes.
    """
    organs = torch.stack([(mask == label).float() for label in labels])
    if tuple(mask.shape) != shape:
        organs = F.adaptive_avg_pool3d(organs, shape)
    flat = organs.flatten(1)
    return torch.cat([1 - flat.sum(0, keepdim=True), flat])


def masked_average_pooling(features: Float[Tensor, "c v"], members: Float[Tensor, "n v"]) -> Prototypes:
    """Equation 3: the mean feature over each class, with fractional membership at its border.

    Args:
        features: (channels, voxels).
        members: (classes, voxels) from `membership`.
    """
    mass = members.sum(1)
    present = mass > 0
    vectors = (members @ features.T) / mass.clamp_min(_EPSILON)[:, None]
    return Prototypes(vectors, present)


def contrast(
    features: Float[Tensor, "c v"],
    members: Float[Tensor, "n v"],
    prototypes: Prototypes,
    *,
    temperature: float = 1.0,
    balanced: bool = True,
) -> Float[Tensor, ""]:
    """Equation 4: −log of the softmax, over the prototypes, of a voxel's cosine similarity to its own class's one.

    Args:
        features: (channels, voxels).
        members: (classes, voxels).
        prototypes: of these classes; absent ones are left out of the softmax.
        temperature: divides the similarities; 1 in the text.
        balanced: mean over classes of the mean over each class's voxels; otherwise the mean over all voxels.

    Returns:
        The mean over the voxels.
    """
    similarity = F.normalize(prototypes.vectors, dim=1, eps=_EPSILON) @ F.normalize(features, dim=0, eps=_EPSILON)
    logits = (similarity / temperature).masked_fill(~prototypes.present[:, None], -torch.inf)
    surprise = torch.logsumexp(logits, 0)[None] - similarity / temperature
    mass = members.sum(1)
    of_class = (members * surprise).sum(1)
    if balanced:
        return (of_class / mass.clamp_min(_EPSILON)).sum() / prototypes.present.sum().clamp_min(1)
    return of_class.sum() / mass.sum().clamp_min(_EPSILON)


def align(fixed: Prototypes, moving: Prototypes) -> Float[Tensor, ""]:
    """Equation 5: Σ (1 − cos) between the two scans' prototypes of each class present in both."""
    cosine = F.cosine_similarity(fixed.vectors, moving.vectors, dim=1, eps=_EPSILON)
    return ((1 - cosine) * (fixed.present & moving.present)).sum()


def prototype_loss(
    fixed: Float[Tensor, "c i j k"],
    moving: Float[Tensor, "c i j k"],
    fixed_mask: UInt8[Tensor, "x y z"],
    moving_mask: UInt8[Tensor, "x y z"],
    labels: tuple[int, ...],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Equation 6: contrast in both scans (their mean) and alignment between them.

    Args:
        fixed: features of the fixed scan, at any level.
        moving: features of the moving scan, at the same level.
        fixed_mask: label map at full resolution.
        moving_mask: label map at full resolution.
        labels: the organs' label numbers.
        temperature: of the contrast.
    """
    sides = []
    for features, mask in ((fixed, fixed_mask), (moving, moving_mask)):
        i, j, k = features.shape[1:]
        members = membership(mask, labels, (i, j, k)).to(features.dtype)
        flat = features.flatten(1)
        prototypes = masked_average_pooling(flat, members)
        sides.append((prototypes, contrast(flat, members, prototypes, temperature=temperature)))
    (fixed_prototypes, fixed_contrast), (moving_prototypes, moving_contrast) = sides
    return (fixed_contrast + moving_contrast) / 2 + align(_organs(fixed_prototypes), _organs(moving_prototypes))


def _organs(prototypes: Prototypes) -> Prototypes:
    return Prototypes(prototypes.vectors[1:], prototypes.present[1:])
