"""A training step of VoxelMorph as a whole: the plain formulation beside ours, equality first, then the ratios."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.ratio import peak_bytes, ratio
from regbench.losses import gradient_penalty, lncc
from regbench.spatial import warp
from regbench_baselines.blocks import UpsampledConv
from regbench_baselines.voxelmorph import VoxelMorphNet

SIZE = 96


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PlainVoxelMorph(VoxelMorphNet):
    """The same weights; every map upsampled, joined, convolved and activated as it is written in the paper."""

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        x, skips = torch.cat([moving, fixed], 1), []
        for conv in self.encoder:
            skips.append(_convolved(conv, x))
            x = F.max_pool3d(skips[-1], 2)
        for conv in [*self.decoder, *self.remaining]:
            if isinstance(conv, UpsampledConv):
                x = torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1)
            x = _convolved(conv, x)
        return F.conv3d(x, self.flow.weight, self.flow.bias, padding=1)


def _convolved(conv: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(conv, nn.Conv3d)
    return F.leaky_relu(F.conv3d(x, conv.weight, conv.bias, padding=1), 0.2)


def plain_objective(fixed: Tensor, moving: Tensor, u: Tensor) -> Tensor:
    """A grid made anew, LNCC by five convolutions with ones, the penalty axis by axis."""
    size = u.shape[2:]
    identity = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=u.dtype) for n in size], indexing="ij"))
    points = [2 * ((identity[axis] + u[:, axis]) / (n - 1) - 0.5) for axis, n in enumerate(size)]
    moved = F.grid_sample(moving, torch.stack(points[::-1], 4), align_corners=True)
    kernel = torch.ones(1, 1, 9, 9, 9, dtype=u.dtype)
    products = fixed, moved, fixed * fixed, moved * moved, fixed * moved
    a, b, aa, bb, ab = (F.conv3d(volume, kernel, padding=4) for volume in products)
    cross = ab - a * b / 729
    similarity = -(cross * cross / ((aa - a * a / 729) * (bb - b * b / 729) + 1e-5)).mean()
    return similarity + 4 * sum(u.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3


def objective(fixed: Tensor, moving: Tensor, u: Tensor) -> Tensor:
    return lncc(fixed, warp(moving, u)) + 4 * gradient_penalty(u)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_at_96(checkpointing: bool) -> None:
    random = torch.Generator().manual_seed(0)
    fixed, moving = torch.rand(2, 1, 1, SIZE, SIZE, SIZE, generator=random)
    torch.manual_seed(0)
    plain, fast = PlainVoxelMorph(), VoxelMorphNet(checkpointing=checkpointing)
    nn.init.normal_(plain.flow.weight, std=0.1)
    fast.load_state_dict(plain.state_dict())

    def plain_step() -> Tensor:
        plain.zero_grad()
        loss = plain_objective(fixed, moving, plain(moving, fixed))
        loss.backward()
        return loss.detach()

    def fast_step() -> Tensor:
        fast.zero_grad()
        loss = objective(fixed, moving, fast(moving, fixed))
        loss.backward()
        return loss.detach()

    torch.testing.assert_close(fast_step(), plain_step(), rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.cat([p.grad.flatten() for p in network.parameters()]) for network in (fast, plain))
    assert (ours - theirs).norm() < 1e-2 * theirs.norm()
    result = ratio(plain_step, fast_step, repeats=3, warmup=0)
    memory = [peak_bytes(step) / 2**20 for step in (plain_step, fast_step)]
    print(  # noqa: T201
        f"\nVoxelMorph step at {SIZE}³{', recomputed slabs' if checkpointing else ''}: {result}; "
        f"peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast"
    )
    assert result.cpu >= 2.4
    assert memory[1] <= 0.6 * memory[0]
