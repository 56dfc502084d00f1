"""CorrMLP's correlation with its gradients: the published way beside ours, equality first, then the ratios."""

import pytest
import torch

from benchmarks.plain.corrmlp import with_correlation as plain
from benchmarks.ratio import peak_bytes, ratio
from regbench_baselines.layers.correlation import with_correlation

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (64, 48, 80)


def test_correlation() -> None:
    a, b = torch.randn(2, 1, 16, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    direction = torch.randn(1, 59, *SHAPE, generator=torch.Generator().manual_seed(1))
    results = [torch.autograd.grad(f(a, b), (a, b), direction) for f in (plain, with_correlation)]
    for theirs, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, theirs, rtol=1e-4, atol=1e-5)
    calls = [lambda f=f: torch.autograd.grad(f(a, b), (a, b), direction) for f in (plain, with_correlation)]
    result = ratio(*calls, repeats=3)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\ncorrelation of 16 channels: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201
    assert result.cpu >= 2
    assert memory[1] < memory[0]
