"""Window attention as usual.

Maps are padded, rolled, cut into windows and projected, and the scores of all windows are held, with the bias and a
mask for each window.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.api.geometry import Shape
from regbench_baselines.layers.window_attention import WindowAttention
from regbench_baselines.layers.windows import relative_index


class PlainAttention(nn.Module):
    """The weights of another attention, whose rules at the edges are the official ones."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        assert attention.rules == "official"
        self.heads, self.window, self.shifted = attention.heads, attention.window, attention.shifted
        self.qkv, self.proj, self.position_table = attention.qkv, attention.proj, attention.position_table
        self.asked_by = attention.queries_from

    def forward(self, stream: Tensor, context: Tensor | None = None) -> Tensor:
        shape, channels = stream.shape[1:4], stream.shape[-1]
        padded = [-(-n // w) * w for n, w in zip(shape, self.window, strict=True)]
        shift = [w // 2 if self.shifted else 0 for w in self.window]
        own = self.projected(stream, padded, shift)
        other = own if context is None else self.projected(context, padded, shift)
        asking, asked = (other, own) if self.asked_by == "context" else (own, other)
        query, key, value = asking[0], asked[1], asked[2]
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if self.position_table is not None:
            index = relative_index(self.window, self.window, stream.device).long()
            scores = scores + self.position_table[index].view(self.tokens, self.tokens, self.heads).permute(2, 0, 1)
        if self.shifted:
            mask = shifted_mask(tuple(padded), self.window, stream.device)
            scores = scores + mask.repeat(len(stream), 1, 1)[:, None]
        x = self.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, self.tokens, channels))
        counts = [n // w for n, w in zip(padded, self.window, strict=True)]
        x = x.view(-1, *counts, *self.window, channels).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, *padded, channels)
        i, j, k = shape
        return torch.roll(x, shift, (1, 2, 3))[:, :i, :j, :k]

    @property
    def tokens(self) -> int:
        return self.window[0] * self.window[1] * self.window[2]

    def projected(self, x: Tensor, padded: list[int], shift: list[int]) -> Tensor:
        """Queries, keys and values of each window and head."""
        ends = [e for n, m in zip(x.shape[3:0:-1], padded[::-1], strict=True) for e in (0, m - n)]
        x = torch.roll(F.pad(x, [0, 0, *ends]), [-s for s in shift], (1, 2, 3))
        return (
            self.qkv(cut(x, self.window))
            .view(-1, self.tokens, 3, self.heads, x.shape[-1] // self.heads)
            .permute(2, 0, 3, 1, 4)
        )


def cut(x: Tensor, window: Shape) -> Tensor:
    """The tokens of each window."""
    sides = [n for size, w in zip(x.shape[1:4], window, strict=True) for n in (size // w, w)]
    windows = x.view(len(x), *sides, -1).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return windows.reshape(-1, window[0] * window[1] * window[2], x.shape[-1])


@lru_cache(maxsize=16)
def shifted_mask(padded: Shape, window: Shape, device: torch.device) -> Tensor:
    """What is added to the scores of each window, so that parts which a roll has joined do not see one another."""
    region = torch.zeros(1, *padded, 1, device=device)
    for axis, (n, w) in enumerate(zip(padded, window, strict=True)):
        along = torch.zeros(n, device=device)
        along[n - w :], along[n - w // 2 :] = 1, 2
        region = region * 3 + along.view([n if d == axis + 1 else 1 for d in range(5)])
    ids = cut(region, window).squeeze(-1)
    return torch.where(ids[:, :, None] == ids[:, None, :], 0.0, -100.0)
