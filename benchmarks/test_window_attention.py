"""Window attention: the usual formulation beside ours, equality first, then times and peak memory as ratios."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.plain.attention import PlainAttention
from benchmarks.ratio import Ratio, peak_bytes, ratio
from regbench_baselines.layers.window_attention import WindowAttention

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS, HEADS = 96, 4


def both(side: int, window: int, *, position_bias: bool) -> tuple[PlainAttention, WindowAttention, Tensor]:
    torch.manual_seed(0)
    ours = WindowAttention(CHANNELS, HEADS, (window,) * 3, shifted=True, position_bias=position_bias, rules="official")
    return PlainAttention(ours), ours, torch.randn(1, side, side, side, CHANNELS)


def inference(attention: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return attention(x)


def training(attention: Callable[[Tensor], Tensor], ours: WindowAttention, x: Tensor) -> tuple[Tensor, ...]:
    x = x.requires_grad_()
    result = attention(x)
    return torch.autograd.grad(result, [x, *ours.parameters()], torch.ones_like(result))


def report(what: str, result: Ratio, memory: list[float]) -> None:
    print(f"\n{what}: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201


@pytest.mark.parametrize(("window", "least"), [(7, 3.0), (5, 1.5)])
def test_inference_on_40_cubed_tokens(window, least) -> None:
    plain, ours, x = both(40, window, position_bias=True)
    torch.testing.assert_close(inference(ours, x), inference(plain, x), rtol=0, atol=1e-5)
    calls = lambda: inference(plain, x), lambda: inference(ours, x)
    result, memory = ratio(*calls, repeats=3), [peak_bytes(call, repeats=2) / 2**20 for call in calls]
    report(f"window attention, inference, 40³ tokens, {window}³ windows", result, memory)
    assert result.cpu >= least
    assert memory[1] < memory[0] / 4


@pytest.mark.parametrize("position_bias", [True, False])
@pytest.mark.parametrize(("window", "least"), [(7, 1.4), (5, 1.2)])
def test_training_on_40_cubed_tokens(window, least, position_bias) -> None:
    plain, ours, x = both(40, window, position_bias=position_bias)
    for a, b in zip(training(ours, ours, x), training(plain, ours, x), strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()
    calls = lambda: training(plain, ours, x), lambda: training(ours, ours, x)
    result, memory = ratio(*calls, repeats=2), [peak_bytes(call) / 2**20 for call in calls]
    bias = "learned bias" if position_bias else "no bias"
    report(f"window attention, training, 40³ tokens, {window}³ windows, {bias}", result, memory)
    assert result.cpu >= least
    assert memory[1] < 0.65 * memory[0]
