"""Random variants of a labelled scan, on the device, from torch's own random state."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.spatial import warp, warp_labels

_CONTROL_POINTS = 6
_BIAS_POINTS = 4
_BLUR_CHANCE = 0.3


@dataclass(frozen=True)
class Variation:
    """How far scans are varied, each to either side of what they are.

    Attributes:
        turn: rotation in rad about the first two axes.
        turn_in_plane: rotation in rad about the last axis, which is that of the slices.
        scale: of each axis, logarithm of the factor.
        shift: of each axis, share of the grid.
        bend: of each of 6³ control points, share of the grid.
        gamma: logarithm of the exponent.
        contrast: logarithm of a factor of all intensities; a quarter of it is added to them.
        bias: logarithm of a factor at each of 4³ control points.
        noise: standard deviation, of intensities in [0, 1].
        blur: of a scan in three, how much of it at most is the mean of 3×3 voxels of its slices.
    """

    turn: float = 0.0
    turn_in_plane: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    bend: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    bias: float = 0.0
    noise: float = 0.0
    blur: float = 0.0


WIDE = Variation(
    turn=0.1,
    turn_in_plane=0.5,
    scale=0.2,
    shift=0.08,
    bend=0.028,
    gamma=0.5,
    contrast=0.3,
    bias=0.3,
    noise=0.03,
    blur=1.0,
)
"""Nearly as wide as those of nnU-Net: what a small cohort of real scans asks for, and many steps to learn it."""


def mild(strength: float) -> Variation:
    """A variation that few steps can learn; at 1 rotations of ±0.15 rad, scales of ±15 %, bends of ±4 % of the grid."""
    return Variation(
        turn=0.15 * strength,
        turn_in_plane=0.15 * strength,
        scale=0.15 * strength,
        bend=0.04 * strength,
        gamma=0.4 * strength,
        noise=0.02 * strength,
    )


def random_variant(
    scan: Float[Tensor, "i j k"], labels: UInt8[Tensor, "i j k"], variation: Variation
) -> tuple[Float[Tensor, "i j k"], UInt8[Tensor, "i j k"]]:
    """The scan and its labels turned, scaled, shifted and bent the same way; the scan's intensities changed as well.

    Args:
        scan: intensities in [0, 1].
        labels: its label map.
        variation: how far.
    """
    if variation == Variation():
        return scan, labels
    u = _displacement(scan, variation)
    bent = warp(scan[None, None], u[None])[0, 0]
    return _intensities(bent, variation), warp_labels(labels, u)


def _displacement(scan: Float[Tensor, "i j k"], variation: Variation) -> Float[Tensor, "3 i j k"]:
    shape = torch.tensor(scan.shape, device=scan.device, dtype=scan.dtype)
    limits = torch.tensor([variation.turn, variation.turn, variation.turn_in_plane], device=scan.device)
    a, b, c = _uniform(3, scan, 1.0) * limits.to(scan)
    zero = torch.zeros_like(a)
    turn = torch.linalg.matrix_exp(torch.stack([zero, -c, b, c, zero, -a, -b, a, zero]).view(3, 3))
    matrix = turn * torch.exp(_uniform(3, scan, variation.scale)) - torch.eye(3, device=scan.device)
    axes = [torch.arange(n, device=scan.device, dtype=scan.dtype) - (n - 1) / 2 for n in scan.shape]
    centred = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    moved = torch.einsum("ab,bijk->aijk", matrix, centred)
    if variation.shift:
        moved = moved + (_uniform(3, scan, variation.shift) * shape)[:, None, None, None]
    return moved + _smooth(3, _CONTROL_POINTS, scan, variation.bend) * shape[:, None, None, None]


def _intensities(scan: Float[Tensor, "i j k"], variation: Variation) -> Float[Tensor, "i j k"]:
    if variation.bias:
        scan = scan * torch.exp(_smooth(1, _BIAS_POINTS, scan, variation.bias)[0])
    if variation.contrast:
        scan = scan * torch.exp(_uniform(1, scan, variation.contrast)) + _uniform(1, scan, variation.contrast / 4)
    if variation.blur and torch.rand(()) < _BLUR_CHANCE:
        blurred = F.avg_pool3d(scan[None, None], (3, 3, 1), 1, (1, 1, 0), count_include_pad=False)[0, 0]
        scan = torch.lerp(scan, blurred, variation.blur * torch.rand((), device=scan.device))
    gamma = torch.exp(_uniform(1, scan, variation.gamma))
    return (scan.clamp(0, 1) ** gamma + variation.noise * torch.randn_like(scan)).clamp(0, 1)


def _smooth(channels: int, points: int, like: Float[Tensor, "i j k"], limit: float) -> Float[Tensor, "c i j k"]:
    control = _uniform(channels * points**3, like, limit).view(1, channels, points, points, points)
    return F.interpolate(control, tuple(like.shape), mode="trilinear", align_corners=True)[0]


def _uniform(count: int, like: Tensor, limit: float) -> Tensor:
    return (2 * torch.rand(count, device=like.device, dtype=like.dtype) - 1) * limit
