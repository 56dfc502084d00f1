"""Attention within windows of a three-dimensional map of tokens: to itself, or across two maps.

Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021. Written for little
memory: tokens are projected first and cut into windows by one gather; windows of a kind share one mask; the scores of
all windows never stand in memory together, in training neither.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from regbench.api.geometry import Shape
from regbench_baselines.layers.windows import Group, Layout, Rows, WindowRules, layout, relative_index

QueriesFrom = Literal["context", "stream"]

# Scores that a CPU computes at a time: few enough to stay in its cache.
CHUNK_BYTES = 2**21
# Bytes of scores, and windows, that one fused call takes: bounds what the gradient of the position bias needs.
FUSED_BYTES = 2**28
FUSED_WINDOWS = 2**14
# Bytes of projected tokens at a time where no gradient is wanted.
BLOCK_BYTES = 2**24
TABLE_STD = 0.02
# e to this power is nothing beside 1, in double precision too; its products with small gradients are normal numbers.
LEAST_EXPONENT = -64.0


class WindowAttention(nn.Module):
    """Multi-head attention within (shifted) windows, with a learned bias for each relative position.

    Attributes:
        window: sides in tokens.
        shifted: windows are moved by half their sides.
        rules: what happens at the edges.
        queries_from: across two maps, which one asks.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: Shape,
        *,
        shifted: bool = False,
        position_bias: bool = True,
        qkv_bias: bool = False,
        rules: WindowRules = "masked",
        queries_from: QueriesFrom = "context",
    ) -> None:
        """An attention with new weights.

        Args:
            channels: of the tokens; a multiple of `heads`.
            heads: number of heads.
            window: sides in tokens; a side longer than a map is cut to it (unless the rules are official).
            shifted: move the windows by half their sides.
            position_bias: add a learned number for each relative position and head to the scores.
            qkv_bias: the projections to queries, keys and values have a bias.
            rules: what happens at the edges, see `WindowRules`.
            queries_from: across two maps: "context", the official code's way: the other map asks, and the map whose
                residual it is gives keys and values; "stream", the way of the paper's equations: the reverse.
        """
        super().__init__()
        self.heads, self.window, self.shifted, self.rules = heads, window, shifted, rules
        self.queries_from: QueriesFrom = queries_from
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.position_table: nn.Parameter | None = None
        if position_bias:
            i, j, k = (2 * side - 1 for side in window)
            self.position_table = nn.Parameter(torch.empty(i * j * k, heads))
            nn.init.trunc_normal_(self.position_table, std=TABLE_STD)

    def forward(
        self, stream: Float[Tensor, "b i j k c"], context: Float[Tensor, "b i j k c"] | None = None
    ) -> Float[Tensor, "b i j k c"]:
        """What each token of `stream` takes up.

        Args:
            stream: the map that the result is added to.
            context: the other map; None: the stream attends to itself.
        """
        batch, *size, channels = stream.shape
        i, j, k = size
        plan = layout(batch, (i, j, k), self.window, self.shifted, self.rules, stream.device)
        sources = self._sources(stream.reshape(-1, channels), context)
        attend = self._whole if torch.is_grad_enabled() else self._by_blocks
        return attend(sources, plan).view(*stream.shape)

    def _sources(
        self, stream: Float[Tensor, "n c"], context: Float[Tensor, "b i j k c"] | None
    ) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """What is projected: tokens, weight, bias; either once to queries, keys and values, or queries apart."""
        weight, bias = self.qkv.weight, self.qkv.bias
        if context is None:
            return [(stream, weight, bias)]
        other, c = context.reshape(stream.shape), stream.shape[1]
        asking, asked = (other, stream) if self.queries_from == "context" else (stream, other)
        first, rest = (None, None) if bias is None else (bias[:c], bias[c:])
        return [(asking, weight[:c], first), (asked, weight[c:], rest)]

    def _bias(self, window: Shape) -> Float[Tensor, "h n n"] | None:
        """The bias of each pair of tokens of a window."""
        if self.position_table is None:
            return None
        index = relative_index(self.window, window, self.position_table.device)
        tokens = window[0] * window[1] * window[2]
        return self.position_table.t().index_select(1, index).view(self.heads, tokens, tokens)

    def _whole(self, sources: Sequence[tuple[Tensor, Tensor, Tensor | None]], plan: Layout) -> Float[Tensor, "n c"]:
        """With gradients: all windows at once."""
        packed = []
        for tokens, weight, bias in sources:
            rows = rearrange(F.linear(tokens, weight), plan.cut, plan.uncut)
            packed.append(rows if bias is None else rows + bias)
        rows = attend(packed, self.heads, self._bias(plan.window), plan.groups)
        taken: Tensor = self.proj(rearrange(rows, plan.read, plan.unread))
        return taken

    def _by_blocks(self, sources: Sequence[tuple[Tensor, Tensor, Tensor | None]], plan: Layout) -> Float[Tensor, "n c"]:
        """Without gradients: a few windows at a time, from the tokens to the result."""
        tokens, channels = sources[0][0].shape
        table = self._bias(plan.window)
        result: Tensor | None = None
        for group in _pieces(plan.groups, max(1, BLOCK_BYTES // (12 * channels * plan.tokens))):
            rows = slice(group.start * plan.tokens, group.stop * plan.tokens)
            packed = [F.linear(_cut(t, plan.cut, rows), weight, bias) for t, weight, bias in sources]
            block = self.proj(attend(packed, self.heads, table, [Group(0, group.stop - group.start, group.mask)]))
            if result is None:
                result = block.new_empty(tokens + 1, channels)
            result.index_copy_(0, plan.home[rows], block)
        assert result is not None  # noqa: S101 - for the type checker: there is at least one window
        return result[:-1]


def set_rules(network: nn.Module, rules: WindowRules) -> None:
    """Give all window attention of a network other rules at the edges; its weights stay."""
    for module in network.modules():
        if isinstance(module, WindowAttention):
            module.rules = rules


def _cut(tokens: Float[Tensor, "n c"], cut: Rows, rows: slice) -> Float[Tensor, "r c"]:
    """Some rows of a gather."""
    taken = tokens.index_select(0, cut.index[rows])
    if cut.empty is not None:
        taken[(cut.empty[(cut.empty >= rows.start) & (cut.empty < rows.stop)] - rows.start)] = 0.0
    return taken


def _pieces(groups: Sequence[Group], most: int) -> Iterator[Group]:
    """The groups, none of more than so many windows."""
    for group in groups:
        for start in range(group.start, group.stop, most):
            stop = min(start + most, group.stop)
            each = group.mask is not None and len(group.mask) > 1
            mask = (
                group.mask[start - group.start : stop - group.start] if group.mask is not None and each else group.mask
            )
            yield Group(start, stop, mask)


def rearrange(rows: Float[Tensor, "old c"], there: Rows, back: Rows) -> Float[Tensor, "new c"]:
    """`there.take(rows)`, whose gradient is taken back by a gather too: `back` is the inverse of `there`."""
    result: Tensor = _Rearrange.apply(rows, there, back)  # type: ignore[no-untyped-call]
    return result


class _Rearrange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Rows, back: Rows) -> Tensor:
        ctx.back = back
        return there.take(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back.take(gradients[0]), None, None


def attend(
    packed: Sequence[Float[Tensor, "r _"]],
    heads: int,
    bias: Float[Tensor, "h n n"] | None,
    groups: Sequence[Group],
) -> Float[Tensor, "r c"]:
    """Attention of all windows.

    Args:
        packed: window rows: either one tensor with queries, keys, values side by side, or queries and (keys, values).
        heads: number of heads.
        bias: of each head and pair of tokens.
        groups: all windows, in order, with their masks.

    Source: softmax(q kᵀ / √d + bias + mask) v, with d channels a head.
    """
    first = packed[0]
    learning = torch.is_grad_enabled() and (first.requires_grad or packed[-1].requires_grad)
    if learning and first.device.type == "cpu" and first.dtype in (torch.float32, torch.float64):
        result: Tensor = _ChunkedAttention.apply(heads, bias, tuple(groups), *packed)  # type: ignore[no-untyped-call]
        return result
    return fused_attend(packed, heads, bias, groups)


def fused_attend(
    packed: Sequence[Float[Tensor, "r _"]],
    heads: int,
    bias: Float[Tensor, "h n n"] | None,
    groups: Sequence[Group],
) -> Float[Tensor, "r c"]:
    """`attend` by torch's fused kernels, group by group."""
    query, key, value = _split(packed, heads, groups)
    windows, tokens, _, size = query.shape
    scale = size**-0.5
    if size % 8 and query.device.type == "cuda":
        # The fused kernels take multiples of 8 only; zeros change no score.
        query, key, value = (F.pad(part, (0, -size % 8)) for part in (query, key, value))
    scores = heads * tokens**2 * query.element_size()
    results = []
    for group in _pieces(groups, max(1, min(FUSED_WINDOWS, FUSED_BYTES // scores))):
        q, k, v = (part[group.start : group.stop].transpose(1, 2) for part in (query, key, value))
        mask = _joined(bias, group.mask, query.dtype)
        results.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2))
    whole = results[0] if len(results) == 1 else torch.cat(results)
    return whole[..., :size].reshape(windows * tokens, heads * size)


def _joined(
    bias: Float[Tensor, "h n n"] | None, mask: Float[Tensor, "w n n"] | None, dtype: torch.dtype
) -> Float[Tensor, "w h n n"] | None:
    """Bias and mask of a group in one tensor, that does not ask for a gradient which nobody wants."""
    if bias is None:
        return None if mask is None else mask[:, None].to(dtype)
    bias = bias if torch.is_grad_enabled() else bias.detach()
    return (bias[None] if mask is None else bias[None] + mask[:, None]).to(dtype)


def _split(
    packed: Sequence[Float[Tensor, "r _"]], heads: int, groups: Sequence[Group]
) -> tuple[Float[Tensor, "w n h d"], ...]:
    """Queries, keys and values, as views."""
    windows = groups[-1].stop
    channels = sum(part.shape[1] for part in packed) // 3
    return tuple(
        one
        for part in packed
        for one in part.view(windows, -1, part.shape[1] // channels, heads, channels // heads).unbind(2)
    )


class _ChunkedAttention(torch.autograd.Function):
    """`attend` on a CPU, with gradients: head by head, and as many windows at a time as the cache holds.

    It keeps the result and each row's log Σ exp, and makes the scores again in the backward pass. The gradient of the
    bias is summed on the way.
    """

    @staticmethod
    def forward(ctx: Any, heads: int, bias: Tensor | None, groups: tuple[Group, ...], *packed: Tensor) -> Tensor:
        query, key, value = _split(packed, heads, groups)
        result = query.new_empty(query.shape)
        log_sum = query.new_empty(query.shape[:3])
        for head, at, bias_and_masks in _chunks(groups, query, bias):
            scores = _scores(query[at, :, head], key[at, :, head], bias_and_masks)
            highest = scores.amax(-1, keepdim=True)
            total = exp_(scores.sub_(highest)).sum(-1, keepdim=True)
            torch.div(torch.bmm(scores, value[at, :, head]), total, out=result[at, :, head])
            torch.add(highest, total.log_(), out=log_sum[at, :, head, None])
        ctx.heads, ctx.groups = heads, groups
        ctx.save_for_backward(result, log_sum, *packed, *([] if bias is None else [bias]))
        return result.view(-1, result.shape[2] * result.shape[3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            result, log_sum, *rest = ctx.saved_tensors
            size = result.shape[-1]
            bias = rest.pop() if rest[-1].dim() == 3 else None
            query, key, value = _split(rest, ctx.heads, ctx.groups)
            of_packed = [torch.empty_like(part) for part in rest]
            of_query, of_key, of_value = _split(of_packed, ctx.heads, ctx.groups)
            of_bias = None if bias is None else torch.zeros_like(bias)
            of_result = gradients[0].reshape(result.shape)
            inner = (of_result * result).sum(-1)
            for head, at, bias_and_masks in _chunks(ctx.groups, query, bias):
                q, k, v, g = (part[at, :, head] for part in (query, key, value, of_result))
                weights = exp_(_scores(q, k, bias_and_masks).sub_(log_sum[at, :, head, None]))
                of_value[at, :, head] = torch.bmm(weights.transpose(1, 2), g)
                of_scores = torch.bmm(g, v.transpose(1, 2)).sub_(inner[at, :, head, None]).mul_(weights)
                if of_bias is not None:
                    of_bias[head] += of_scores.sum(0)
                of_query[at, :, head] = _scaled(of_scores, k, size)
                of_key[at, :, head] = _scaled(of_scores.transpose(1, 2), q, size)
            return None, of_bias, None, *of_packed


def _scaled(a: Float[Tensor, "w n m"], b: Float[Tensor, "w m l"], size: int) -> Float[Tensor, "w n l"]:
    """A b / √size, window by window."""
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=size**-0.5)


def _scores(
    query: Float[Tensor, "w n d"], key: Float[Tensor, "w n d"], added: Sequence[Float[Tensor, "..."]]
) -> Float[Tensor, "w n n"]:
    """The scores of some windows and one head."""
    scores = _scaled(query, key.transpose(1, 2), query.shape[-1])
    for one in added:
        scores.add_(one)
    return scores


def exp_(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """e^x in its place, and 0 where that is less than rounding, as behind a mask.

    There a CPU would take ten times as long for the exponential of −∞, and seventy times for numbers that are too small
    to be normal, in the exponential and in every product with them.
    """
    return torch.threshold_(x.clamp_min_(LEAST_EXPONENT).exp_(), 2 * math.exp(LEAST_EXPONENT), 0.0)


def _chunks(
    groups: Sequence[Group], query: Float[Tensor, "w n h d"], bias: Float[Tensor, "h n n"] | None
) -> Iterator[tuple[int, slice, list[Tensor]]]:
    """Head, windows, and what is added to their scores, for as many windows at a time as the cache holds."""
    _, tokens, heads, _ = query.shape
    most = max(1, CHUNK_BYTES // (tokens**2 * query.element_size()))
    for head in range(heads):
        for group in groups:
            added = [] if bias is None else [bias[head]]
            if group.mask is not None:
                mask = group.mask.to(query.dtype)
                added = [mask + bias[head]] if bias is not None and len(mask) == 1 else [*added, mask]
            for piece in _pieces([Group(group.start, group.stop, None)], most):
                at = slice(piece.start - group.start, piece.stop - group.start)
                yield (
                    head,
                    slice(piece.start, piece.stop),
                    [one[at] if one.dim() == 3 and len(one) > 1 else one for one in added],
                )
