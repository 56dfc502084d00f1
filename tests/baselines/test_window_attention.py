import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench_baselines.layers import window_attention
from regbench_baselines.layers.window_attention import WindowAttention, attend, exp_, fused_attend
from regbench_baselines.layers.windows import layout, relative_index

CPU = torch.device("cpu")


def dense(attention: WindowAttention, stream: Tensor, context: Tensor | None = None) -> Tensor:
    """The same attention written over all pairs of tokens of the map: no windows are cut, so none need putting back."""
    official = attention.rules != "masked"
    batch, *size, channels = stream.shape
    window = attention.window if official else [min(w, n) for w, n in zip(attention.window, size, strict=True)]
    shift = [w // 2 if attention.shifted else 0 for w in window]
    if official:
        shift = shift if min(shift) else [0, 0, 0]
        padded = [-(-n // w) * w for n, w in zip(size, window, strict=True)]
        stream, context = (None if m is None else pad(m, padded) for m in (stream, context))
    else:
        padded = size
        shift = [0 if n <= w else s for n, w, s in zip(size, window, shift, strict=True)]
    place = torch.tensor(list(itertools.product(*map(range, padded))))
    home = torch.div(place - torch.tensor(shift), torch.tensor(window), rounding_mode="floor")
    blocked = (home[:, None] != home[None, :]).any(-1)
    x = stream.reshape(batch, -1, channels)
    y = x if context is None else context.reshape(batch, -1, channels)
    asking, asked = (y, x) if attention.queries_from == "context" else (x, y)
    q, k, v = (
        F.linear(t, w, None if attention.qkv.bias is None else b).view(batch, len(place), attention.heads, -1)
        for t, w, b in zip(
            (asking, asked, asked),
            attention.qkv.weight.chunk(3),
            (0, 0, 0) if attention.qkv.bias is None else attention.qkv.bias.chunk(3),
            strict=True,
        )
    )
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    if attention.position_table is not None:
        offset = place[:, None] - place[None, :] + torch.tensor(attention.window) - 1
        sides = [2 * w - 1 for w in attention.window]
        offset = torch.where(blocked[..., None], 0, offset)
        row = (offset[..., 0] * sides[1] + offset[..., 1]) * sides[2] + offset[..., 2]
        scores = scores + attention.position_table[row].permute(2, 0, 1)
    weights = scores.masked_fill(blocked, -torch.inf).softmax(-1)
    result = attention.proj(torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, *padded, channels))
    i, j, k = size
    return result[:, :i, :j, :k]


def pad(tokens: Tensor, shape: list[int]) -> Tensor:
    missing = [end for n, m in zip(reversed(tokens.shape[1:4]), reversed(shape), strict=True) for end in (0, m - n)]
    return F.pad(tokens, [0, 0, *missing])


def make(channels: int, heads: int, window: tuple[int, int, int], **options: object) -> WindowAttention:
    torch.manual_seed(0)
    attention = WindowAttention(channels, heads, window, **options).double()
    if attention.position_table is not None:
        attention.position_table.data.normal_()
    return attention


CASES = [
    pytest.param((4, 6, 4), (2, 3, 2), False, id="fits"),
    pytest.param((4, 6, 4), (2, 3, 2), True, id="fits, shifted"),
    pytest.param((5, 7, 3), (2, 3, 2), True, id="odd sizes"),
    pytest.param((5, 9, 6), (4, 4, 4), True, id="padding reaches into the window before the last"),
    pytest.param((3, 7, 1), (5, 3, 2), True, id="windows larger than a thin map"),
    pytest.param((6, 6, 4), (3, 2, 1), True, id="a side of one"),
]


@pytest.mark.parametrize("rules", ["masked", "official"])
@pytest.mark.parametrize(("shape", "window", "shifted"), CASES)
@pytest.mark.parametrize("few", [0, 2**18], ids=["masks shared", "masks apiece"])
def test_equals_attention_over_all_pairs(monkeypatch, shape, window, shifted, rules, few) -> None:
    monkeypatch.setattr("regbench_baselines.layers.windows.FEW_MASK_ENTRIES", few)
    monkeypatch.setattr(window_attention, "CHUNK_BYTES", 2**12)
    monkeypatch.setattr(window_attention, "BLOCK_BYTES", 2**12)
    layout.cache_clear()
    attention = make(8, 2, window, shifted=shifted, rules=rules)
    stream = torch.randn(2, *shape, 8, dtype=torch.float64, requires_grad=True)
    expected = dense(attention, stream)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [stream, *attention.parameters()], grad)
    result = attention(stream)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    given = torch.autograd.grad(result, [stream, *attention.parameters()], grad)
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(attention(stream), expected, rtol=0, atol=1e-12)
    layout.cache_clear()


@pytest.mark.parametrize("rules", ["masked", "official"])
@pytest.mark.parametrize("queries_from", ["context", "stream"])
@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize("position_bias", [False, True])
def test_across_two_maps(rules, queries_from, qkv_bias, position_bias) -> None:
    options = {"queries_from": queries_from, "qkv_bias": qkv_bias, "position_bias": position_bias}
    attention = make(6, 3, (2, 3, 2), shifted=True, rules=rules, **options)
    stream, context = (torch.randn(1, 5, 7, 3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = dense(attention, stream, context)
    result = attention(stream, context)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    inputs = [stream, context, *attention.parameters()]
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(result.square().sum(), inputs), wanted, rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(attention(stream, context), expected, rtol=0, atol=1e-12)


def test_masked_padding_does_not_change_what_official_padding_would() -> None:
    stream = torch.randn(1, 5, 6, 4, 8, dtype=torch.float64)
    masked, official = (make(8, 2, (2, 3, 2), rules=rules)(stream) for rules in ("masked", "official"))
    assert (masked[:, :4] - official[:, :4]).abs().max() < 1e-12
    assert (masked[:, 4] - official[:, 4]).abs().max() > 1e-3


def test_legacy_order_is_the_shuffle_of_the_old_window_reverse() -> None:
    attention = make(6, 2, (2, 3, 2), shifted=True, rules="official")
    old = make(6, 2, (2, 3, 2), shifted=True, rules="legacy")
    stream = torch.randn(2, 4, 6, 4, 6, dtype=torch.float64, requires_grad=True)
    rolled = torch.roll(attention(stream), (-1, -1, -1), (1, 2, 3))
    windows = rolled.view(2, 2, 2, 2, 3, 2, 2, 6).permute(0, 1, 3, 5, 2, 4, 6, 7).contiguous()
    shuffled = windows.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(2, 4, 6, 4, 6)
    expected = torch.roll(shuffled, (1, 1, 1), (1, 2, 3))
    result = old(stream)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    assert (result - attention(stream)).abs().max() > 0.1
    wanted, given = (torch.autograd.grad(r.square().sum(), stream)[0] for r in (expected, result))
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(old(stream), expected, rtol=0, atol=1e-12)


def test_share_of_voxels_that_the_legacy_order_leaves_in_place() -> None:
    for shape, window, share in [
        ((8, 8, 8), (2, 2, 2), 0.03),
        ((10, 12, 10), (5, 6, 5), 0.017),
        ((5, 6, 5),) * 2 + (0.067,),
    ]:
        plan = layout(1, shape, window, False, "legacy", CPU)
        stays = (plan.read.index == plan.uncut.index).float().mean()
        assert abs(float(stays) - share) < 0.005


def test_at_most_27_kinds_of_windows_however_many_there_are(monkeypatch) -> None:
    monkeypatch.setattr("regbench_baselines.layers.windows.FEW_MASK_ENTRIES", 0)
    layout.cache_clear()
    assert len(layout(1, (20, 20, 20), (4, 4, 4), True, "official", CPU).groups) == 8
    assert len(layout(1, (20, 20, 20), (4, 4, 4), False, "masked", CPU).groups) == 1
    assert len(layout(2, (17, 17, 17), (4, 4, 4), True, "masked", CPU).groups) <= 27
    layout.cache_clear()


def test_a_clipped_window_uses_the_middle_of_the_table() -> None:
    whole = relative_index((3, 5, 2), (3, 5, 2), CPU).view(3, 5, 2, 3, 5, 2)
    clipped = relative_index((3, 5, 2), (2, 4, 1), CPU).view(2, 4, 1, 2, 4, 1)
    assert torch.equal(clipped, whole[:2, :4, :1, :2, :4, :1])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_fused_and_chunked_are_one_function(monkeypatch, masked, with_bias) -> None:
    monkeypatch.setattr("regbench_baselines.layers.windows.FEW_MASK_ENTRIES", 0)
    monkeypatch.setattr(window_attention, "FUSED_WINDOWS", 3)
    monkeypatch.setattr(window_attention, "CHUNK_BYTES", 2**11)
    layout.cache_clear()
    plan = layout(1, (5, 6, 4), (2, 3, 2), masked, "masked", CPU)
    rows = torch.randn(plan.cut.index.numel(), 24, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 12, 12, dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = [rows] if bias is None else [rows, bias]
    results = [function([rows], 2, bias, plan.groups) for function in (attend, fused_attend)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    grad = torch.randn_like(results[0])
    torch.testing.assert_close(*(torch.autograd.grad(r, inputs, grad) for r in results), rtol=0, atol=1e-11)
    layout.cache_clear()


def test_weights_behind_a_mask_are_zero_and_no_weight_is_too_small_to_be_normal() -> None:
    x = torch.cat([torch.linspace(-120, 0, 2401), torch.tensor([-torch.inf])])
    found = exp_(x.clone())
    assert (found[x < -64] == 0).all()
    torch.testing.assert_close(found[x > -63], x[x > -63].exp())
    assert found[found > 0].min() > 1e6 * torch.finfo(x.dtype).tiny


def test_gradients() -> None:
    plan = layout(1, (3, 2, 2), (2, 2, 2), True, "masked", CPU)
    packed = [torch.randn(plan.cut.index.numel(), n, dtype=torch.float64, requires_grad=True) for n in (4, 8)]
    bias = torch.randn(2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, kv, b: attend([q, kv], 2, b, plan.groups), (*packed, bias))


def test_autocast() -> None:
    attention = WindowAttention(16, 2, (2, 3, 2), shifted=True)
    stream = torch.randn(1, 5, 6, 4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = attention(stream)
        assert result.dtype == torch.bfloat16
        result.float().sum().backward()
    assert attention.position_table is not None
    assert attention.position_table.grad is not None
    assert (result.float() - attention(stream)).abs().max() < 0.05


@pytest.mark.parametrize("rules", ["masked", "legacy"])
def test_it_trains_after_it_was_asked_in_inference_mode(rules) -> None:
    layout.cache_clear()
    relative_index.cache_clear()
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, (2, 3, 2), shifted=True, rules=rules)
    tokens = torch.randn(1, 5, 6, 7, 8)
    with torch.inference_mode():
        seen = attention(tokens)
    result = attention(tokens)
    result.square().sum().backward()
    torch.testing.assert_close(result, seen, rtol=0, atol=1e-6)
    assert all(parameter.grad is not None for parameter in attention.parameters())
    plan = layout(1, (5, 6, 7), (2, 3, 2), True, rules, CPU)
    kept = [plan.home, *(rows.index for rows in (plan.cut, plan.uncut, plan.read, plan.unread))]
    assert not any(tensor.is_inference() for tensor in [*kept, *(g.mask for g in plan.groups if g.mask is not None)])
