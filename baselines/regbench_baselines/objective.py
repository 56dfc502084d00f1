"""The loss terms that all trainable baselines share, and their common weights."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from regbench.api import Batch
from regbench.losses import gradient_penalty, lncc, warped_dice
from regbench.spatial import warp

# Xu et al., IPMI 2025, section 4.2: ω1, ω2, ω3.
COMMON_WEIGHTS: Mapping[str, float] = {"similarity": 1.0, "smooth": 4.0, "segmentation": 1.0}


def objective(displacement: Float[Tensor, "b 3 i j k"], batch: Batch) -> dict[str, Float[Tensor, ""]]:
    """Similarity, smoothness and, where the batch has masks, their overlap (Xu et al., IPMI 2025, eq. 8-10).

    Args:
        displacement: voxels of the fixed grid.
        batch: the pairs; without masks there is no term "segmentation".

    Returns:
        Each term by name, not weighted.
    """
    terms = {
        "similarity": lncc(batch.fixed, warp(batch.moving, displacement)),
        "smooth": gradient_penalty(displacement),
    }
    if batch.fixed_mask is not None and batch.moving_mask is not None:
        terms["segmentation"] = warped_dice(batch.fixed_mask, batch.moving_mask, displacement, batch.setting.labels)
    return terms
