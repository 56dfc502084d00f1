"""What a row's picture is drawn from: one pair, registered by that row."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from regbench.api import Field, PairId
from regbench.data import Cohort
from regbench.spatial import jacobian_determinant, warp, warp_labels

_CROP = 2


@dataclass(frozen=True, eq=False)
class Scene:
    """A registered pair in arrays.

    Attributes:
        names: label number → name.
        spacing_mm: of the fixed grid.
        fixed: intensities.
        moving: intensities.
        moved: the moving scan warped onto the fixed one.
        fixed_labels: true labels.
        moving_labels: true labels.
        moved_labels: the moving labels warped by the protocol's rule.
        displacement: in voxels of the fixed grid.
        determinant: det(I + ∇u); NaN where it is not computed, two voxels from the border.
    """

    names: Mapping[int, str]
    spacing_mm: tuple[float, float, float]
    fixed: Float[np.ndarray, "i j k"]
    moving: Float[np.ndarray, "a b c"]
    moved: Float[np.ndarray, "i j k"]
    fixed_labels: UInt8[np.ndarray, "i j k"]
    moving_labels: UInt8[np.ndarray, "a b c"]
    moved_labels: UInt8[np.ndarray, "i j k"]
    displacement: Float[np.ndarray, "3 i j k"]
    determinant: Float[np.ndarray, "i j k"]


def scene(cohort: Cohort, pair: PairId, field: Field) -> Scene:
    """The pair as a field leaves it."""
    seen, truth, u = cohort.pair(pair), cohort.truth(pair), field.displacement.float()
    determinant = torch.full(u.shape[1:], torch.nan, device=u.device)
    inner = slice(_CROP, -_CROP)
    determinant[inner, inner, inner] = jacobian_determinant(u)
    moved = warp(seen.moving.data[None, None], u[None])[0, 0]
    return Scene(
        names=truth.labels,
        spacing_mm=seen.grid.spacing_mm,
        fixed=seen.fixed.data.cpu().numpy(),
        moving=seen.moving.data.cpu().numpy(),
        moved=moved.cpu().numpy(),
        fixed_labels=truth.fixed_labels.data.cpu().numpy(),
        moving_labels=truth.moving_labels.data.cpu().numpy(),
        moved_labels=warp_labels(truth.moving_labels.data, u).cpu().numpy(),
        displacement=u.cpu().numpy(),
        determinant=determinant.cpu().numpy(),
    )
