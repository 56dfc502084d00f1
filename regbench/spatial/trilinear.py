"""Trilinear interpolation on a CPU: a few gathers for each block of points, and a hand-written backward.

Nothing is kept for the backward but the inputs. A displacement is split into floor and fraction before the point's own
place is added, so that a zero displacement gives the image back bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regbench.spatial.blocks import EXACT_IN_FLOAT32, Workspace, plane_blocks

MARGIN = 2
"""Voxels around the image. Corners are clamped into them, so that no corner needs a test of its own."""


@dataclass(frozen=True)
class Located:
    """A block of points between their corners; valid until the next block.

    Attributes:
        planes: which planes of the points' grid.
        corner: (n,) int64: flat index of the lowest corner in the padded image.
        fractions: three of (n,): how far along i, j, k the point lies from that corner.
    """

    planes: slice
    corner: Tensor
    fractions: tuple[Tensor, Tensor, Tensor]


class PaddedVolume:
    """The channels of one image (c, i, j, k), each flat, with a margin of `outside` around it."""

    def __init__(self, image: Tensor, outside: int = 0) -> None:
        self.size = tuple(n + 2 * MARGIN for n in image.shape[1:])
        padded = image.new_full((image.shape[0], *self.size), outside)
        self.inside(padded).copy_(image)
        self.flat = padded.flatten(1)
        self._corners = [self.corners(channel) for channel in self.flat]
        self._work = Workspace(image.device)

    @staticmethod
    def inside(padded: Tensor) -> Tensor:
        """The part of a padded volume that is not margin."""
        inner = slice(MARGIN, -MARGIN)
        return padded[..., inner, inner, inner]

    def corners(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Eight views of a flat padded volume: element n is a corner of the cell whose lowest corner is voxel n.

        The last axis changes fastest: (0, 0, 0), (0, 0, 1), (0, 1, 0), ...
        """
        _, rows, columns = self.size
        return tuple(flat[(i * rows + j) * columns + k :] for i in (0, 1) for j in (0, 1) for k in (0, 1))

    def locate(self, field: Tensor, *, relative: bool) -> Iterator[Located]:
        """Blocks of points: at x + field(x) if relative, else at field(x); field (3, x, y, z)."""
        axes = [torch.arange(n, dtype=field.dtype, device=field.device) + MARGIN for n in field.shape[1:]]
        for planes in plane_blocks(field.shape[1:], field.device):
            block = field[:, planes]
            low, lows = self._work.rows("low", 3, block[0].numel(), field.dtype)
            fraction, (fi, fj, fk) = self._work.rows("fraction", 3, block[0].numel(), field.dtype)
            torch.floor(block, out=low.view(block.shape))
            torch.sub(block, low.view(block.shape), out=fraction.view(block.shape))
            own = axes[0][planes, None, None], axes[1][:, None], axes[2]
            places: tuple[Tensor | int, ...] = own if relative else (MARGIN,) * 3
            for row, place, size in zip(lows, places, self.size, strict=True):
                row.view(block.shape[1:]).add_(place).clamp_(0, size - 2)
            yield Located(planes, self._flat_index(*lows), (fi, fj, fk))

    def _flat_index(self, i: Tensor, j: Tensor, k: Tensor) -> Tensor:
        """Whole floating-point indices as flat ones; a point that is not a number gets the margin's."""
        _, rows, columns = self.size
        _, (index,) = self._work.rows("index", 1, k.numel(), torch.int64)
        line = torch.add(j, i, alpha=rows, out=j)
        if self.flat.shape[1] >= EXACT_IN_FLOAT32:
            return index.copy_(torch.add(k.double(), line.double(), alpha=columns).nan_to_num_(0))
        _, (narrow,) = self._work.rows("int32", 1, k.numel(), torch.int32)
        whole = torch.add(k, line, alpha=columns, out=k).nan_to_num_(0)
        return index.copy_(narrow.copy_(whole))  # twice as fast as from float to int64

    def _ends(self, channel: int, at: Located) -> tuple[Tensor, tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]:
        """The values at both ends of a block's four edges along k, as (4, n) and as its rows."""
        start, starts = self._work.rows("start", 4, at.corner.numel(), self.flat.dtype)
        end, ends = self._work.rows("end", 4, at.corner.numel(), self.flat.dtype)
        corners = self._corners[channel]
        for edge in range(4):
            torch.index_select(corners[2 * edge], 0, at.corner, out=starts[edge])
            torch.index_select(corners[2 * edge + 1], 0, at.corner, out=ends[edge])
        return start, starts, end, ends

    def values(self, channel: int, at: Located) -> Tensor:
        """The interpolated values of a block; valid until the next call."""
        fi, fj, fk = at.fractions
        start, (near, low, far, high), end, _ = self._ends(channel, at)
        start.lerp_(end, fk)
        return near.lerp_(low, fj).lerp_(far.lerp_(high, fj), fi)

    def slopes(self, channel: int, at: Located) -> tuple[Tensor, Tensor, Tensor]:
        """The derivatives of a block's values along i, j, k; valid until the next call."""
        start, _, end, _ = self._ends(channel, at)
        return cell_slopes(start, end, at.fractions)

    def spread(self, corners: tuple[Tensor, ...], weight: Tensor, at: Located) -> None:
        """The transpose of `values`: adds each point's weight to the eight corners of its cell."""
        _, parts = self._work.rows("part", 8, weight.numel(), weight.dtype)
        parts[0].copy_(weight)
        for stride, fraction in zip((4, 2, 1), at.fractions, strict=True):
            for whole in range(0, 8, 2 * stride):
                torch.mul(parts[whole], fraction, out=parts[whole + stride])
                parts[whole].sub_(parts[whole + stride])
        for corner, part in zip(corners, parts, strict=True):
            corner.scatter_add_(0, at.corner, part)


def cell_slopes(start: Tensor, end: Tensor, fractions: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives of a trilinear interpolation along i, j, k, within n cells.

    Args:
        start: (4, n) values at the corners (0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0) of each cell; overwritten.
        end: (4, n) the same with 1 as the last index; overwritten.
        fractions: three of (n,): the points' places within their cells.
    """
    fi, fj, fk = fractions
    start.addcmul_(end.sub_(start), fk)
    (near, low, far, high), (k0, k1, k2, k3) = start, end
    along_j = (low - near).lerp_(high - far, fi)
    along_i = far.lerp_(high, fj).sub_(near.lerp_(low, fj))
    return along_i, along_j, k0.lerp_(k1, fj).lerp_(k2.lerp_(k3, fj), fi)


class Trilinear(torch.autograd.Function):
    """(image (b, c, i, j, k), field (b, 3, x, y, z), relative) → (b, c, x, y, z), differentiable in both."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, field: Tensor, relative: bool) -> Tensor:  # noqa: D102
        ctx.save_for_backward(image, field)
        ctx.relative = relative
        out = image.new_empty(*image.shape[:2], *field.shape[2:])
        for item in range(image.shape[0]):
            volume = PaddedVolume(image[item])
            for at in volume.locate(field[item], relative=relative):
                for channel in range(image.shape[1]):
                    target = out[item, channel, at.planes]
                    target.copy_(volume.values(channel, at).view(target.shape))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: D102
        image, field = ctx.saved_tensors
        for_image, for_field = ctx.needs_input_grad[:2]
        image_gradient = torch.empty_like(image) if for_image else None
        field_gradient = torch.zeros_like(field) if for_field else None
        for item in range(image.shape[0]):
            volume = PaddedVolume(image[item])
            spread = torch.zeros_like(volume.flat) if for_image else None
            corners = [volume.corners(channel) for channel in spread] if spread is not None else []
            for at in volume.locate(field[item], relative=ctx.relative):
                for channel in range(image.shape[1]):
                    weight = gradient[item, channel, at.planes].reshape(-1)
                    if for_image:
                        volume.spread(corners[channel], weight, at)
                    if field_gradient is not None:
                        for axis, slope in enumerate(volume.slopes(channel, at)):
                            target = field_gradient[item, axis, at.planes]
                            target.addcmul_(slope.view(target.shape), weight.view(target.shape))
            if image_gradient is not None and spread is not None:
                image_gradient[item] = volume.inside(spread.view(-1, *volume.size))
        return image_gradient, field_gradient, None
