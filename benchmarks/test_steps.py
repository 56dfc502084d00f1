"""A training step of each baseline as a whole: the plain formulation beside ours, equality first, then the ratios."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.plain.training import METHODS, Plain, plain_twin
from benchmarks.ratio import cost
from benchmarks.training import Training
from regbench.api import Batch, Setting, Trainable
from regbench_baselines.layers.blocks import FlowHead

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 96
LEAST = {"voxelmorph": 2.4, "transmorph": 2.0, "transmatch": 2.0, "corrmlp": 1.5}
"""How many times less CPU time."""
MOST = {"voxelmorph": 0.5, "transmorph": 0.6, "transmatch": 0.7, "corrmlp": 0.8}
"""The share of the peak memory."""


@dataclass(frozen=True)
class Step:
    """What one training step gives, and what the next one costs."""

    terms: dict[str, Tensor]
    gradient: Tensor
    cpu_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, method: Trainable, network: nn.Module, batch: Batch) -> "Step":
        """Two steps at a rate of zero, the first of which warms up."""
        training = Training(method, network, batch, "float32", rate=0.0)
        terms, _ = training.step()
        gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        return cls(dict(terms), gradient, *cost(training.step))

    def __str__(self) -> str:
        return f"{self.cpu_seconds:.2f} s, {self.peak_bytes / 2**20:.0f} MiB"


@pytest.fixture(scope="module")
def batch() -> Batch:
    """A pair of noise, with masks of two organs."""
    images = torch.rand(2, 1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 1, 1, SIZE, SIZE, SIZE, dtype=torch.uint8)
    masks[0, ..., 20:50, 20:50, 20:50], masks[1, ..., 23:55, 20:50, 20:50] = 1, 1
    masks[:, ..., 60:80, 60:80, 30:80] = 2
    return Batch(*images, *masks, Setting((SIZE,) * 3, (2.0, 2.0, 2.0), (1, 2)))


@pytest.mark.parametrize("name", METHODS)
def test_a_step(name: str, batch: Batch) -> None:
    method: Any = replace(METHODS[name], checkpointing=False)
    torch.manual_seed(0)
    network = method.network(batch.setting).eval()
    for head in (module for module in network.modules() if isinstance(module, FlowHead)):
        nn.init.normal_(head.weight, std=0.01)  # a field of about a voxel
    fast, slow = Step.of(method, network, batch), Step.of(Plain(method), plain_twin(network), batch)
    for term, value in slow.terms.items():
        torch.testing.assert_close(fast.terms[term], value, rtol=1e-4, atol=1e-5)
    assert (fast.gradient - slow.gradient).norm() < 1e-2 * slow.gradient.norm()
    ratio, share = slow.cpu_seconds / fast.cpu_seconds, fast.peak_bytes / slow.peak_bytes
    print(f"\n{name}, a step at {SIZE}³: {ratio:.2f}x CPU time, {share:.2f} of the peak ({slow} plain; {fast} fast)")  # noqa: T201
    assert ratio >= LEAST[name]
    assert share <= MOST[name]
