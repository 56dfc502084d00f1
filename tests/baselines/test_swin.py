import dataclasses
import math

import pytest
import torch

from regbench_baselines.layers.swin import (
    CrossAttention,
    DropPath,
    PatchMerging,
    SwinEncoder,
    SwinOptions,
    adaptive_window,
    sinusoids,
)

TINY = SwinOptions(channels=8, heads=(1, 2, 2, 4), window=(2, 3, 2))


def test_merging_takes_the_octants_in_the_official_order() -> None:
    merging = PatchMerging(1)
    place = torch.arange(8.0).view(1, 2, 2, 2, 1)
    seen = []
    merging.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    merging(place)
    i, j, k = (4, 2, 1)
    assert seen[0].flatten().tolist() == [0, i, j, k, i + j, j + k, i + k, i + j + k]


@pytest.mark.parametrize("shape", [(64, 96, 64), (33, 17, 5), (4, 4, 4), (1, 2, 3)])
def test_encoder_halves_any_size_with_rounding_up(shape) -> None:
    encoder = SwinEncoder(1, TINY).eval()
    with torch.no_grad():
        features = encoder(torch.rand(1, 1, *shape))
    for level, stage in enumerate(features):
        assert tuple(stage.shape) == (1, 8 * 2**level, *(-(-n // 2 ** (level + 2)) for n in shape))
        assert stage.isfinite().all()


def test_only_the_stages_asked_for_are_normed() -> None:
    assert [key for key in SwinEncoder(1, TINY, outputs=(3,)).state_dict() if key.startswith("norms")] == [
        "norms.3.weight",
        "norms.3.bias",
    ]


def test_checkpointing_changes_no_number() -> None:
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        options = SwinOptions(channels=8, heads=(1, 2, 2, 4), window=(2, 2, 2), checkpointing=checkpointing)
        encoder = SwinEncoder(1, options).train()
        torch.manual_seed(1)
        total = sum(stage.square().sum() for stage in encoder(torch.rand(1, 1, 32, 24, 16)))
        results.append(torch.autograd.grad(total, list(encoder.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_drop_path_leaves_out_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    branch = torch.ones(4000, 1, 1, 1, 2)
    kept = drop.train()(branch)
    assert set(kept.flatten().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert torch.equal(kept[..., 0], kept[..., 1])
    assert abs(kept.mean() - 1) < 0.05
    assert torch.equal(drop.eval()(branch), branch)


def test_drop_path_rises_from_zero() -> None:
    rates = SwinOptions().drop_paths()
    assert [len(stage) for stage in rates] == [2, 2, 4, 2]
    assert rates[0][0] == 0
    assert rates[3][1] == pytest.approx(0.3)
    assert rates[0][1] == pytest.approx(0.3 / 9)


@pytest.mark.parametrize(("shape", "window"), [((96, 96, 16), (3, 3, 2)), ((160, 160, 160), (5, 5, 5))])
def test_adaptive_window(shape, window) -> None:
    assert adaptive_window(shape) == window


def test_sinusoids_tell_places_apart_axis_by_axis() -> None:
    encoded = sinusoids(torch.zeros(1, 3, 4, 5, 8, dtype=torch.float64))
    assert encoded.shape == (3, 4, 5, 8)
    for place in ((0, 0, 0), (2, 3, 4), (1, 0, 3)):
        phases = [(p, p / 100) for p in place]  # two frequencies an axis: 1 and 10000^(−1/2)
        expected = [f(phase) for pair in phases for f in (math.sin, math.cos) for phase in pair][:8]
        torch.testing.assert_close(encoded[place], torch.tensor(expected, dtype=torch.float64))


def test_a_learned_position_is_interpolated_and_added() -> None:
    encoder = SwinEncoder(1, dataclasses.replace(TINY, absolute_position="learned")).eval()
    tokens = torch.rand(1, 7, 8, 14, 8)
    torch.nn.init.constant_(encoder.position_map, 2.0)
    torch.testing.assert_close(encoder._with_position(tokens), tokens + 2)
    encoder.position_map.data = torch.arange(56.0).view(1, 1, 1, 1, 56).expand(1, 8, 56, 56, 56)
    torch.testing.assert_close(encoder._with_position(tokens)[..., 0] - tokens[..., 0], expected_ramp(tokens))


def expected_ramp(tokens: torch.Tensor) -> torch.Tensor:
    return (4 * torch.arange(14.0) + 1.5).expand(tokens.shape[:4])


@pytest.mark.parametrize(("queries_from", "asks"), [("context", "context"), ("stream", "stream")])
def test_cross_attention_adds_to_the_stream(queries_from, asks) -> None:
    torch.manual_seed(0)
    block = CrossAttention(8, 2, SwinOptions(window=(2, 2, 2)), queries_from=queries_from).eval()
    stream, context = torch.randn(2, 1, 8, 5, 4, 3)
    result = block(stream, context)
    assert result.shape == stream.shape
    for swin in block.stage.blocks:
        torch.nn.init.zeros_(swin.attention.proj.weight)
        torch.nn.init.zeros_(swin.fc2.weight)
        torch.nn.init.zeros_(swin.attention.proj.bias)
        torch.nn.init.zeros_(swin.fc2.bias)
    torch.testing.assert_close(block(stream, context), block.norm(stream.movedim(1, -1)).movedim(-1, 1))
    # With no weight on queries all keys count alike, so that where queries come from no longer matters.
    first = block.stage.blocks[0].attention
    torch.nn.init.zeros_(first.qkv.weight[:8])
    torch.nn.init.zeros_(first.position_table)
    maps = {"stream": stream.movedim(1, -1), "context": context.movedim(1, -1)}
    other = {**maps, asks: torch.randn_like(maps[asks])}
    torch.nn.init.eye_(first.proj.weight)
    torch.testing.assert_close(first(maps["stream"], maps["context"]), first(other["stream"], other["context"]))
