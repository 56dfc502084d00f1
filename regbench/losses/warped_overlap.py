"""How much a warped label map overlaps with another, label by label, without one-hot volumes.

Where all eight neighbours of a point have one label, its soft mask is 1 for that label and has no slope: such points
are counted, and only the others are interpolated.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regbench.spatial.trilinear import PaddedVolume, cell_slopes

LABELS = 256

OUTSIDE = 255
"""What lies outside the moving mask: label 255 itself cannot be counted."""

MIXED = 254
"""Stands for a cell whose corners are not of one label. Cells of label 254 go with them: that is slower, not wrong."""


@dataclass(frozen=True)
class _Mixed:
    """The points of one item that lie in mixed cells.

    Attributes:
        place: (n,) flat indices of the points.
        fractions: three of (n,): where the points lie within their cells.
        corners: (8, n) uint8: the labels at the corners.
        fixed: (n,) uint8: the labels of the fixed mask at the points.
    """

    place: Tensor
    fractions: tuple[Tensor, Tensor, Tensor]
    corners: Tensor
    fixed: Tensor


class WarpedOverlap(torch.autograd.Function):
    """Masks (b, x, y, z) and (b, i, j, k), displacement (b, 3, x, y, z), labels (n,) → Σ f·m and Σ m, (b, 256) each.

    f is the one-hot fixed mask, m the trilinearly warped one-hot moving mask; both sums are differentiable in the
    displacement, of which nothing is kept for the backward but where the mixed cells are. They hold for the n labels.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, fixed: Tensor, moving: Tensor, u: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        overlaps, totals = u.new_zeros(2, u.shape[0], LABELS, dtype=torch.float64)
        ctx.like, ctx.shape, ctx.mixed = u.new_empty(0), u.shape, []
        for item in range(u.shape[0]):
            mixed = _count(fixed[item].flatten(), moving[item], u[item], labels, overlaps[item], totals[item])
            _interpolate(mixed, labels, overlaps[item], totals[item])
            ctx.mixed.append(mixed)
        return overlaps, totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_overlaps: Tensor, for_totals: Tensor) -> tuple[None, None, Tensor, None]:  # noqa: D102
        gradient = ctx.like.new_zeros(ctx.shape)
        for item, mixed in enumerate(ctx.mixed):
            agreement, membership = (table[item].to(gradient.dtype) for table in (for_overlaps, for_totals))
            corners = torch.stack([membership.index_select(0, corner.int()) for corner in mixed.corners])
            corners.add_(agreement.index_select(0, mixed.fixed.int()) * (mixed.corners == mixed.fixed))
            slopes = cell_slopes(corners[0::2], corners[1::2], mixed.fractions)
            for axis, slope in zip(gradient[item].flatten(1), slopes, strict=True):
                axis.scatter_(0, mixed.place, slope)
        return None, None, gradient, None


def tally(values: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """How many of the values (n,) are of each label, or the sum of their weights, in a table (256,).

    On an accelerator only these labels are looked for: `bincount` would make the host wait, and add in no fixed order.
    """
    if values.device.type == "cpu":
        return torch.bincount(values, weights, minlength=LABELS)
    same = values == labels[:, None]
    found = same.sum(1) if weights is None else same.to(weights.dtype) @ weights
    return found.new_zeros(LABELS).index_copy_(0, labels, found)


def _count(fixed: Tensor, moving: Tensor, u: Tensor, labels: Tensor, overlap: Tensor, total: Tensor) -> _Mixed:
    """Adds the points whose cells are of one label to the sums, and finds the others."""
    volume = PaddedVolume(moving[None], OUTSIDE)
    views = volume.corners(volume.flat[0])
    cell_labels = _cell_labels(volume.flat[0], views)
    cells = torch.empty_like(fixed)
    plane = u[0, 0].numel()
    parts = []
    for at in volume.locate(u, relative=True):
        block = slice(at.planes.start * plane, at.planes.stop * plane)
        torch.index_select(cell_labels, 0, at.corner, out=cells[block])
        found = (cells[block] == MIXED).nonzero()[:, 0]
        corner = at.corner.index_select(0, found)
        corners = torch.stack([view.index_select(0, corner) for view in views])
        fractions = [fraction.index_select(0, found) for fraction in at.fractions]
        parts.append((found + block.start, *fractions, corners, fixed[block].index_select(0, found)))
    total += tally(cells, labels)
    overlap += tally(cells.masked_fill_(cells != fixed, OUTSIDE), labels)
    total[MIXED] = overlap[MIXED] = 0
    place, fi, fj, fk, corners, own = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    return _Mixed(place, (fi, fj, fk), corners, own)


def _cell_labels(flat: Tensor, views: tuple[Tensor, ...]) -> Tensor:
    """The label of each cell of a padded mask, by its lowest corner; MIXED where the corners differ."""
    least = most = flat
    for axis in (1, 2, 4):  # views 1, 2 and 4 are one step along k, j, i
        step = flat.numel() - views[axis].numel()
        least = torch.minimum(least[:-step], least[step:])
        most = torch.maximum(most[:-step], most[step:])
    return least.masked_fill_(least != most, MIXED)


def _interpolate(mixed: _Mixed, labels: Tensor, overlap: Tensor, total: Tensor) -> None:
    """Adds the points in mixed cells to the sums, each corner with its trilinear weight."""
    agreement = torch.zeros_like(mixed.fractions[0], dtype=torch.float64)
    for number, corner in enumerate(mixed.corners):
        weight = torch.ones_like(agreement)
        for bit, fraction in zip((4, 2, 1), mixed.fractions, strict=True):
            weight.mul_(fraction if number & bit else 1 - fraction)
        total += tally(corner, labels, weight)
        agreement.add_(weight * (corner == mixed.fixed))
    overlap += tally(mixed.fixed, labels, agreement)
