"""Window attention: the usual formulation beside ours, equality first, then times and peak memory as ratios.

The usual one pads, rolls, cuts into windows, projects, and holds the scores of all windows with the bias and a mask
for each window.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.ratio import Ratio, peak_bytes, ratio
from regbench_baselines.layers.window_attention import WindowAttention
from regbench_baselines.layers.windows import relative_index

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS, HEADS = 96, 4


class Plain:
    """The usual formulation, with the weights of ours."""

    def __init__(self, attention: WindowAttention, shape: tuple[int, int, int]) -> None:
        self.attention, self.window = attention, attention.window
        self.padded = [-(-n // w) * w for n, w in zip(shape, self.window, strict=True)]
        self.shift = [w // 2 if attention.shifted else 0 for w in self.window]
        region = torch.zeros(1, *self.padded, 1)
        if attention.shifted:
            for axis, (n, w, s) in enumerate(zip(self.padded, self.window, self.shift, strict=True)):
                along = torch.zeros(n)
                along[n - w :], along[n - s :] = 1, 2
                region = region * 3 + along.view([n if d == axis + 1 else 1 for d in range(5)])
        ids = self.cut(region).squeeze(-1)
        self.mask = torch.where(ids[:, :, None] == ids[:, None, :], 0.0, -100.0) if attention.shifted else None

    def cut(self, x: Tensor) -> Tensor:
        sides = [n for size, w in zip(self.padded, self.window, strict=True) for n in (size // w, w)]
        return x.view(1, *sides, -1).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, self.tokens, x.shape[-1])

    @property
    def tokens(self) -> int:
        return self.window[0] * self.window[1] * self.window[2]

    def __call__(self, x: Tensor) -> Tensor:
        shape, net = x.shape[1:4], self.attention
        x = F.pad(x, [0, 0, *[e for n, m in zip(shape[::-1], self.padded[::-1], strict=True) for e in (0, m - n)]])
        x = self.cut(torch.roll(x, [-s for s in self.shift], (1, 2, 3)))
        qkv = net.qkv(x).view(len(x), self.tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        scores = (qkv[0] * qkv.shape[-1] ** -0.5) @ qkv[1].transpose(-2, -1)
        if net.position_table is not None:
            index = relative_index(self.window, self.window, x.device).long()
            scores = scores + net.position_table[index].view(self.tokens, self.tokens, HEADS).permute(2, 0, 1)
        if self.mask is not None:
            scores = scores + self.mask[:, None]
        x = net.proj((scores.softmax(-1) @ qkv[2]).transpose(1, 2).reshape(len(x), self.tokens, CHANNELS))
        counts = [n // w for n, w in zip(self.padded, self.window, strict=True)]
        x = x.view(1, *counts, *self.window, -1).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(1, *self.padded, -1)
        x = torch.roll(x, self.shift, (1, 2, 3))
        i, j, k = shape
        return x[:, :i, :j, :k]


def both(side: int, window: int, *, position_bias: bool) -> tuple[Plain, WindowAttention, Tensor]:
    torch.manual_seed(0)
    ours = WindowAttention(CHANNELS, HEADS, (window,) * 3, shifted=True, position_bias=position_bias, rules="official")
    return Plain(ours, (side,) * 3), ours, torch.randn(1, side, side, side, CHANNELS)


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
    assert memory[1] < memory[0] / 2
