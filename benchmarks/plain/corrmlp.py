"""CorrMLP in the published order of operations: windows cut out for each gate, a product kept for each offset."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain.objective import warp
from regbench_baselines.corrmlp import ChannelAttention, CorrelationBlock, CorrMLPNet
from regbench_baselines.layers.pyramid import PyramidEncoder
from regbench_baselines.layers.window_mlp import WindowGate, WindowMLP


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Twenty-seven products, one an offset, each kept for the backward pass."""
    padded = F.pad(b, (1, 1, 1, 1, 1, 1))
    i, j, k = a.shape[2:]
    offsets = [(p, q, r) for p in range(3) for q in range(3) for r in range(3)]
    return torch.stack([(a * padded[:, :, p : p + i, q : q + j, r : r + k]).mean(1) for p, q, r in offsets], 1)


def with_correlation(a: Tensor, b: Tensor) -> Tensor:
    """The correlation between its two maps."""
    return torch.cat([a, correlation(a, b), b], 1)


def _gate(gate: WindowGate, n: Tensor) -> Tensor:
    b, i, j, k, c = n.shape
    w = gate.window
    padded = F.pad(n, (0, 0, 0, -k % w, 0, -j % w, 0, -i % w))
    p, q, r = (size // w for size in padded.shape[1:4])
    tokens = padded.view(b, p, w, q, w, r, w, c).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, w**3, c)
    u, v = F.gelu(gate.project_in(gate.norm(tokens))).chunk(2, -1)
    v = gate.mix(gate.gate_norm(v).transpose(1, 2)).transpose(1, 2)
    y = (gate.project_out(u * (v + 1)) + tokens).view(b, p, q, r, w, w, w, c)
    return y.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(padded.shape)[:, :i, :j, :k]


def window_mlp(mlp: WindowMLP, x: Tensor) -> Tensor:
    """Three gates, weighted by what all voxels say."""
    n = mlp.norm(x)
    parts = [_gate(gate, n) for gate in mlp.gates]
    share = mlp.expand(F.gelu(mlp.shrink(sum(parts).mean((1, 2, 3))))).view(len(x), -1, 3).softmax(2)
    return x + mlp.project(sum(part * share[:, None, None, None, :, g] for g, part in enumerate(parts)))


def _attention(block: ChannelAttention, x: Tensor) -> Tensor:
    y = block.norm(x).permute(0, 4, 1, 2, 3)
    y = F.leaky_relu(F.conv3d(y, block.first.weight, block.first.bias, padding=1), 0.2)
    y = F.conv3d(y, block.second.weight, block.second.bias, padding=1)
    share = block.excite(F.relu(block.squeeze(y.mean((2, 3, 4), keepdim=True)))).sigmoid()
    return x + (y * share).permute(0, 2, 3, 4, 1)


def _block(block: CorrelationBlock, a: Tensor, b: Tensor) -> Tensor:
    joined = F.conv3d(with_correlation(a, b), block.conv.weight, block.conv.bias, padding=1)
    x = joined.permute(0, 2, 3, 4, 1)
    return (x + _attention(block.attention, window_mlp(block.mlp, x))).permute(0, 4, 1, 2, 3)


def _encoder(encoder: PyramidEncoder, image: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for level in encoder.levels:
        x = F.avg_pool3d(maps[-1], 2) if maps else image
        for conv in (level.first, level.second):
            x = F.instance_norm(F.leaky_relu(F.conv3d(x, conv.weight, conv.bias, padding=1), 0.2))
        maps.append(x)
    return maps


class PlainCorrMLP(CorrMLPNet):
    """The same weights."""

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        f, m = _encoder(self.encoder, fixed), _encoder(self.encoder, moving)
        x = _block(self.cross[3], f[3], m[3])
        u = self.heads[3](x)
        for level in (2, 1, 0):
            up = F.interpolate(2 * u, scale_factor=2.0, mode="trilinear", align_corners=True)
            seen = _block(self.cross[level], f[level], warp(m[level], up))
            x = _block(self.fuse[level], seen, self.expand[level](x))
            u = self.heads[level](x) + up
        return u
