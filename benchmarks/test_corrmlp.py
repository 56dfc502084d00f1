"""CorrMLP: the published order of operations beside ours, equality first, then the ratios."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.ratio import peak_bytes, ratio
from regbench_baselines.corrmlp import ChannelAttention, CorrelationBlock, CorrMLPNet
from regbench_baselines.layers.correlation import with_correlation
from regbench_baselines.layers.pyramid import PyramidEncoder
from regbench_baselines.layers.window_mlp import WindowGate, WindowMLP

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (64, 48, 80)


def plain_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Twenty-seven products, each kept for the backward pass."""
    padded = F.pad(b, (1, 1, 1, 1, 1, 1))
    i, j, k = a.shape[2:]
    offsets = [(p, q, r) for p in range(3) for q in range(3) for r in range(3)]
    maps = [(a * padded[:, :, p : p + i, q : q + j, r : r + k]).mean(1) for p, q, r in offsets]
    return torch.cat([a, torch.stack(maps, 1), b], 1)


def plain_gate(gate: WindowGate, n: Tensor) -> Tensor:
    b, i, j, k, c = n.shape
    w = gate.window
    padded = F.pad(n, (0, 0, 0, -k % w, 0, -j % w, 0, -i % w))
    p, q, r = (size // w for size in padded.shape[1:4])
    tokens = padded.view(b, p, w, q, w, r, w, c).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, w**3, c)
    u, v = F.gelu(gate.project_in(gate.norm(tokens))).chunk(2, -1)
    v = gate.mix(gate.gate_norm(v).transpose(1, 2)).transpose(1, 2)
    y = (gate.project_out(u * (v + 1)) + tokens).view(b, p, q, r, w, w, w, c)
    return y.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(padded.shape)[:, :i, :j, :k]


def plain_mlp(mlp: WindowMLP, x: Tensor) -> Tensor:
    n = mlp.norm(x)
    parts = [plain_gate(gate, n) for gate in mlp.gates]
    share = mlp.expand(F.gelu(mlp.shrink(sum(parts).mean((1, 2, 3))))).view(len(x), -1, 3).softmax(2)
    return x + mlp.project(sum(part * share[:, None, None, None, :, g] for g, part in enumerate(parts)))


def plain_attention(block: ChannelAttention, x: Tensor) -> Tensor:
    y = block.norm(x).permute(0, 4, 1, 2, 3)
    y = F.leaky_relu(F.conv3d(y, block.first.weight, block.first.bias, padding=1), 0.2)
    y = F.conv3d(y, block.second.weight, block.second.bias, padding=1)
    share = block.excite(F.relu(block.squeeze(y.mean((2, 3, 4), keepdim=True)))).sigmoid()
    return x + (y * share).permute(0, 2, 3, 4, 1)


def plain_block(block: CorrelationBlock, a: Tensor, b: Tensor) -> Tensor:
    joined = F.conv3d(plain_correlation(a, b), block.conv.weight, block.conv.bias, padding=1)
    x = joined.permute(0, 2, 3, 4, 1)
    return (x + plain_attention(block.attention, plain_mlp(block.mlp, x))).permute(0, 4, 1, 2, 3)


def plain_encoder(encoder: PyramidEncoder, image: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for level in encoder.levels:
        x = F.avg_pool3d(maps[-1], 2) if maps else image
        for conv in (level.first, level.second):
            x = F.instance_norm(F.leaky_relu(F.conv3d(x, conv.weight, conv.bias, padding=1), 0.2))
        maps.append(x)
    return maps


def plain_warp(image: Tensor, u: Tensor) -> Tensor:
    size = u.shape[2:]
    identity = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=u.dtype) for n in size], indexing="ij"))
    points = [2 * ((identity[axis] + u[:, axis]) / (n - 1) - 0.5) for axis, n in enumerate(size)]
    return F.grid_sample(image, torch.stack(points[::-1], 4), align_corners=True)


class PlainCorrMLP(CorrMLPNet):
    """The same weights, step by step as published."""

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        f, m = plain_encoder(self.encoder, fixed), plain_encoder(self.encoder, moving)
        x = plain_block(self.cross[3], f[3], m[3])
        u = self.heads[3](x)
        for level in (2, 1, 0):
            up = F.interpolate(2 * u, scale_factor=2.0, mode="trilinear", align_corners=True)
            seen = plain_block(self.cross[level], f[level], plain_warp(m[level], up))
            x = plain_block(self.fuse[level], seen, self.expand[level](x))
            u = self.heads[level](x) + up
        return u


def test_correlation() -> None:
    a, b = torch.randn(2, 1, 16, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    direction = torch.randn(1, 59, *SHAPE, generator=torch.Generator().manual_seed(1))
    results = [torch.autograd.grad(f(a, b), (a, b), direction) for f in (plain_correlation, with_correlation)]
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    calls = [lambda f=f: torch.autograd.grad(f(a, b), (a, b), direction) for f in (plain_correlation, with_correlation)]
    result = ratio(*calls, repeats=3)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\ncorrelation of 16 channels: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201
    assert result.cpu >= 2
    assert memory[1] < memory[0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_network_with_its_gradients(checkpointing: bool) -> None:
    random = torch.Generator().manual_seed(0)
    moving, fixed = torch.rand(2, 1, 1, *SHAPE, generator=random)
    torch.manual_seed(0)
    plain, fast = PlainCorrMLP(), CorrMLPNet(checkpointing=checkpointing)
    for head in plain.heads:
        nn.init.normal_(head.weight, std=3e-3)
    fast.load_state_dict(plain.state_dict())

    def step(network: CorrMLPNet) -> Tensor:
        network.zero_grad()
        u: Tensor = network(moving, fixed)
        u.square().mean().backward()
        return u.detach()

    torch.testing.assert_close(step(fast), step(plain), rtol=1e-4, atol=2e-4)
    ours, theirs = (torch.cat([p.grad.flatten() for p in network.parameters()]) for network in (fast, plain))
    assert (ours - theirs).norm() < 1e-3 * theirs.norm()
    result = ratio(lambda: step(plain), lambda: step(fast), repeats=3, warmup=0)
    memory = [peak_bytes(lambda network=network: step(network)) / 2**20 for network in (plain, fast)]
    print(  # noqa: T201
        f"\nCorrMLP at {SHAPE}{', recomputed' if checkpointing else ''}: {result}; "
        f"peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast"
    )
    assert result.cpu >= 1.4
    assert memory[1] < (0.5 if checkpointing else 0.85) * memory[0]
