"""A training step of VoxelMorph as a whole: the plain formulation beside ours, equality first, then the ratios."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.ratio import cost
from regbench.losses import gradient_penalty, lncc
from regbench.spatial import warp
from regbench_baselines.layers.blocks import UpsampledConv
from regbench_baselines.voxelmorph import VoxelMorphNet

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 96


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


@dataclass(frozen=True)
class Step:
    """What one training step gives, and what the next one costs."""

    loss: Tensor
    gradient: Tensor
    cpu_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, network: nn.Module, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> "Step":
        """A step on a pair of noise, the same for all."""
        fixed, moving = torch.rand(2, 1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

        def step() -> Tensor:
            network.zero_grad()
            value = loss(fixed, moving, network(moving, fixed))
            value.backward()
            return value.detach()

        value, gradient = step(), torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
        return cls(value, gradient, *cost(step))


@pytest.fixture(scope="module")
def network() -> PlainVoxelMorph:
    """Weights that give a field of about a voxel."""
    torch.manual_seed(0)
    plain = PlainVoxelMorph()
    nn.init.normal_(plain.flow.weight, std=0.1)
    return plain


@pytest.fixture(scope="module")
def plain(network: PlainVoxelMorph) -> Step:
    """Half a minute of CPU time each, so it is taken once."""
    return Step.of(network, plain_objective)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_at_96(network: PlainVoxelMorph, plain: Step, checkpointing: bool) -> None:
    lean = VoxelMorphNet(checkpointing=checkpointing)
    lean.load_state_dict(network.state_dict())
    fast = Step.of(lean, objective)
    torch.testing.assert_close(fast.loss, plain.loss, rtol=1e-4, atol=1e-5)
    assert (fast.gradient - plain.gradient).norm() < 1e-2 * plain.gradient.norm()
    ratio = plain.cpu_seconds / fast.cpu_seconds
    print(  # noqa: T201
        f"\nVoxelMorph step at {SIZE}³{', recomputed slabs' if checkpointing else ''}: {ratio:.2f}x CPU time "
        f"({plain.cpu_seconds:.2f} s plain, {fast.cpu_seconds:.2f} s fast); "
        f"peak {plain.peak_bytes / 2**20:.0f} MiB plain, {fast.peak_bytes / 2**20:.0f} MiB fast"
    )
    assert ratio >= 2.4
    assert fast.peak_bytes <= (0.5 if checkpointing else 0.6) * plain.peak_bytes
