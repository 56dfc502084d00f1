"""Random variants of a labelled scan, on the device, from torch's own random state."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.spatial import warp, warp_labels

_CONTROL_POINTS = 6


def random_variant(
    scan: Float[Tensor, "i j k"], labels: UInt8[Tensor, "i j k"], *, strength: float
) -> tuple[Float[Tensor, "i j k"], UInt8[Tensor, "i j k"]]:
    """The scan and its labels turned, scaled and bent the same way; the scan's contrast changed as well.

    Args:
        scan: intensities in [0, 1].
        labels: its label map.
        strength: 1: rotations of ±0.15 rad, scales of ±15 %, bends of ±4 % of the grid's size; 0: no change.
    """
    if strength == 0:
        return scan, labels
    u = _displacement(scan, strength)
    bent = warp(scan[None, None], u[None])[0, 0]
    gamma = torch.exp(_uniform(1, scan, 0.4 * strength))
    noise = 0.02 * strength * torch.randn_like(bent)
    return (bent.clamp(0, 1) ** gamma + noise).clamp(0, 1), warp_labels(labels, u)


def _displacement(scan: Float[Tensor, "i j k"], strength: float) -> Float[Tensor, "3 i j k"]:
    shape = torch.tensor(scan.shape, device=scan.device, dtype=scan.dtype)
    a, b, c = _uniform(3, scan, 0.15 * strength)
    zero = torch.zeros_like(a)
    turn = torch.linalg.matrix_exp(torch.stack([zero, -c, b, c, zero, -a, -b, a, zero]).view(3, 3))
    matrix = turn * torch.exp(_uniform(3, scan, 0.15 * strength)) - torch.eye(3, device=scan.device)
    axes = [torch.arange(n, device=scan.device, dtype=scan.dtype) - (n - 1) / 2 for n in scan.shape]
    centred = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    affine = torch.einsum("ab,bijk->aijk", matrix, centred)
    control = _uniform(3 * _CONTROL_POINTS**3, scan, 0.04 * strength).view(1, 3, *[_CONTROL_POINTS] * 3)
    bend = F.interpolate(control, tuple(scan.shape), mode="trilinear", align_corners=True)[0]
    return affine + bend * shape[:, None, None, None]


def _uniform(count: int, like: Tensor, limit: float) -> Tensor:
    return (2 * torch.rand(count, device=like.device, dtype=like.dtype) - 1) * limit
