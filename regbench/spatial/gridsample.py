"""Trilinear interpolation on an accelerator: torch's sampler, its grid made anew for the backward instead of kept."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def sampling_grid(field: Tensor, size: torch.Size, *, relative: bool) -> Tensor:
    """The points as `grid_sample` wants them: (b, x, y, z, 3), last axis first.

    They are normalised for align_corners=False, which unlike True has no division by zero for an axis of one voxel.
    """
    axes = []
    for axis in (2, 1, 0):
        points = field[:, axis]
        if relative:
            place = torch.arange(field.shape[axis + 2], dtype=field.dtype, device=field.device)
            points = points + place.view([-1 if other == axis else 1 for other in range(3)])
        axes.append((2 * points + (1 - size[axis])) / size[axis])
    return torch.stack(axes, dim=4)


class GridSample(torch.autograd.Function):
    """(image (b, c, i, j, k), field (b, 3, x, y, z), relative) → (b, c, x, y, z), differentiable in both."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, field: Tensor, relative: bool) -> Tensor:  # noqa: D102
        ctx.save_for_backward(image, field)
        ctx.relative = relative
        grid = sampling_grid(field, image.shape[2:], relative=relative)
        with torch.autocast(image.device.type, enabled=False):
            return F.grid_sample(image, grid, align_corners=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: D102
        image, field = ctx.saved_tensors
        for_image, for_field = ctx.needs_input_grad[:2]
        grid = sampling_grid(field, image.shape[2:], relative=ctx.relative)
        bilinear_zeros_unaligned = (0, 0, False)
        image_gradient, grid_gradient = torch.ops.aten.grid_sampler_3d_backward(
            gradient, image, grid, *bilinear_zeros_unaligned, [for_image, for_field]
        )
        if not for_field:
            return image_gradient, None, None
        # A tensor of the three factors would have to be waited for: it comes from the host.
        parts = [part * (2 / n) for part, n in zip(reversed(grid_gradient.unbind(4)), image.shape[2:], strict=True)]
        field_gradient = torch.stack(parts, 1)
        return image_gradient if for_image else None, field_gradient, None
