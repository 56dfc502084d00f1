"""CorrMLP's multi-window MLP: three gated MLPs that mix the voxels of windows of 3³, 5³ and 7³.

The published order of operations is: partition into windows, then normalise, project, gate, project back, undo the
partition, weigh the three results, project. All but the mixing of positions act on one voxel at a time, so here they
are done once on the whole map, for the three windows together, and the linear ones are multiplied out first.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WINDOWS = (3, 5, 7)


class WindowGate(nn.Module):
    """The parameters of one gated MLP."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm, self.gate_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.project_in, self.project_out = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.mix = nn.Linear(window**3, window**3)

    def stem(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"]]:
        """Weight and bias of `project_in` with the affine part of `norm` multiplied in."""
        weight, bias = self.project_in.weight, self.project_in.bias
        return weight * self.norm.weight, bias + weight @ self.norm.bias

    def gate(self, v: Float[Tensor, "b i j k c"]) -> Float[Tensor, "b i j k c"]:
        """V normalised, and its positions mixed within each window.

        Where windows reach beyond the map they see what the published network makes of zeros there: one and the same
        vector. It is taken off before padding with zeros, and put back through the bias.
        """
        channels = v.shape[-1]
        outside = F.gelu(self.stem()[1])[channels:]
        beyond = self.gate_norm(outside)
        v = F.layer_norm(v, (channels,), self.gate_norm.weight, self.gate_norm.bias - beyond)
        bias = self.mix.bias[:, None] + self.mix.weight.sum(1)[:, None] * beyond
        return mix_windows(v, self.window, self.mix.weight, bias)


def mix_windows(
    v: Float[Tensor, "b i j k c"], window: int, weight: Float[Tensor, "p p"], bias: Float[Tensor, "p c"]
) -> Float[Tensor, "b i j k c"]:
    """A linear map over the positions of each window, for each channel; zeros beyond the far ends."""
    shape, channels = v.shape[1:4], v.shape[4]
    v = F.pad(v, (0, 0, *[end for n in reversed(shape) for end in (0, -n % window)]))
    i, j, k = (n // window for n in v.shape[1:4])
    split = v.view(-1, i, window, j, window, k, window, channels).permute(2, 4, 6, 0, 1, 3, 5, 7)
    mixed = (weight @ split.reshape(window**3, -1)).view(window**3, -1, channels) + bias[:, None]
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
        gates = [cast(WindowGate, gate) for gate in self.gates]
        channels, count = x.shape[-1], len(gates)
        n = self.norm(x)
        stems = [gate.stem() for gate in gates]
        weight, bias = torch.cat([w for w, _ in stems]), torch.cat([b for _, b in stems])
        z = F.gelu(F.linear(F.layer_norm(n, (channels,)), weight, bias)).chunk(2 * count, -1)
        h = [u * (gate.gate(v) + 1) for gate, u, v in zip(gates, z[::2], z[1::2], strict=True)]
        out = torch.stack([gate.project_out.weight for gate in gates])
        out_bias = torch.stack([gate.project_out.bias for gate in gates])
        means = torch.stack([part.mean((1, 2, 3)) for part in h], 1)
        total = torch.einsum("boc,oec->be", means, out) + out_bias.sum(0) + count * n.mean((1, 2, 3))
        share = self.expand(F.gelu(self.shrink(total))).unflatten(1, (channels, count)).softmax(2)
        # project(Σ share_i · (out_i h_i + out_bias_i + n)) with Σ share_i = 1
        joint = torch.einsum("ec,bco,ocd->boed", self.project.weight, share, out)
        constant = self.project.bias + torch.einsum("ec,bco,oc->be", self.project.weight, share, out_bias)
        result = x + F.linear(n, self.project.weight) + constant[:, None, None, None]
        for index, part in enumerate(h):
            result = result + (part.flatten(1, 3) @ joint[:, index].transpose(1, 2)).view_as(x)
        return result
