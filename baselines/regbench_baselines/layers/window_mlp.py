"""CorrMLP's multi-window MLP: three gated MLPs that mix the voxels of windows of 3³, 5³ and 7³.

The published order of operations is: partition into windows, then normalise, project, gate, project back, undo the
partition, weigh the three results, project. All but the mixing of positions act on one voxel at a time, so here they
are done once on the whole map, for the three windows together, and the linear ones are multiplied out first.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WINDOWS = (3, 5, 7)


class WindowGate(nn.Module):
    """One gated MLP, without its shortcut and its last projection."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm, self.gate_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.project_in, self.project_out = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.mix = nn.Linear(window**3, window**3)

    def forward(self, stem: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """U · (v' + 1), with u, v projections of the input and v' = v normalised and mixed within each window.

        Args:
            stem: the input, normalised over the channels without scale and shift: those are multiplied in here.
        """
        channels = stem.shape[-1]
        weight = self.project_in.weight * self.norm.weight
        bias = self.project_in.bias + self.project_in.weight @ self.norm.bias
        u, v = (F.gelu(F.linear(stem, w, b)) for w, b in zip(weight.chunk(2), bias.chunk(2), strict=True))
        # Where windows reach beyond the map they see what the published network makes of zeros there, the same vector
        # everywhere: it is taken off before padding with zeros, and put back through the bias.
        beyond = self.gate_norm(F.gelu(bias[channels:]))
        v = F.layer_norm(v, (channels,), self.gate_norm.weight, self.gate_norm.bias - beyond)
        mix_bias = self.mix.bias[:, None] + self.mix.weight.sum(1)[:, None] * beyond
        return u * mix_windows(v, self.window, self.mix.weight, mix_bias + 1)


def mix_windows(
    v: Float[Tensor, "b i j k c"], window: int, weight: Float[Tensor, "p p"], bias: Float[Tensor, "p c"]
) -> Float[Tensor, "b i j k c"]:
    """A linear map over the positions of each window, for each channel; zeros beyond the far ends."""
    shape, channels = v.shape[1:4], v.shape[4]
    v = F.pad(v, (0, 0, *[end for n in reversed(shape) for end in (0, -n % window)]))
    i, j, k = (n // window for n in v.shape[1:4])
    split = v.view(-1, i, window, j, window, k, window, channels).permute(2, 4, 6, 0, 1, 3, 5, 7)
    mixed = (weight @ split.reshape(window**3, -1)).view(window**3, -1, channels).add_(bias[:, None])
    joined = mixed.view(split.shape).permute(3, 4, 0, 5, 1, 6, 2, 7).reshape(v.shape)
    return joined[:, : shape[0], : shape[1], : shape[2]]


class WindowMLP(nn.Module):
    """The block: x + project(Σ weight_i · gated MLP_i(norm(x))), with weights from the global mean."""

    def __init__(self, channels: int, windows: Sequence[int] = WINDOWS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gates = nn.ModuleList(WindowGate(channels, window) for window in windows)
        self.shrink = nn.Linear(channels, channels // 4)
        self.expand = nn.Linear(channels // 4, len(windows) * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """The block; channels last."""
        channels = x.shape[-1]
        n, mean = _with_mean(self.norm(x))
        stem = F.layer_norm(n, (channels,))
        parts, means = zip(*[_with_mean(gate(stem)) for gate in self.gates], strict=True)
        joint, constant = self._last_projections(mean, torch.stack(means, 1))
        result = (x + constant[:, None, None, None]).flatten(1, 3)
        result = result.baddbmm(n.flatten(1, 3), self.project.weight.t().expand(x.shape[0], -1, -1))
        for index, part in enumerate(parts):
            result = result.baddbmm(part.flatten(1, 3), joint[:, index])
        return result.view_as(x)

    def _last_projections(
        self, mean: Float[Tensor, "b c"], means: Float[Tensor, "b g c"]
    ) -> tuple[Float[Tensor, "b g c d"], Float[Tensor, "b d"]]:
        """Of project(Σ share_i · (out_i h_i + out_bias_i + n)): what h_i is multiplied with, and the constant.

        n itself is multiplied with `project` alone, since the shares add up to 1.
        """
        gates = [cast(WindowGate, gate) for gate in self.gates]
        out = torch.stack([gate.project_out.weight for gate in gates])
        out_bias = torch.stack([gate.project_out.bias for gate in gates])
        total = torch.einsum("bgc,gdc->bd", means, out) + out_bias.sum(0) + len(gates) * mean
        share = self.expand(F.gelu(self.shrink(total))).unflatten(1, (-1, len(gates))).softmax(2)
        joint = torch.einsum("ed,bdg,gdc->bgce", self.project.weight, share, out)
        return joint, self.project.bias + torch.einsum("ed,bdg,gd->be", self.project.weight, share, out_bias)


class _WithMean(torch.autograd.Function):
    """A map and its mean over the voxels; the two gradients are joined in one pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.count = x[0, ..., 0].numel()
        return x.view_as(x), x.mean((1, 2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_mean: Tensor) -> Tensor:
        joined: Tensor = of_x + (of_mean / ctx.count)[:, None, None, None]
        return joined


def _with_mean(x: Float[Tensor, "b i j k c"]) -> tuple[Float[Tensor, "b i j k c"], Float[Tensor, "b c"]]:
    with_mean: tuple[Tensor, Tensor] = _WithMean.apply(x)  # type: ignore[no-untyped-call]
    return with_mean
