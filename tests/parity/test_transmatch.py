import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.spatial import warp
from regbench_baselines.transmatch import as_sampled_officially, official_network

CASE = "transmatch_full_w222_64x64x64"
VARIANTS = ["corrected", "legacy"]


def official_sampler(image: Tensor, flow: Tensor) -> Tensor:
    """The authors' warp: normalised as if the outermost centres lay at ±1, sampled as if the outermost edges did."""
    size = image.new_tensor(image.shape[2:])
    identity = torch.stack(torch.meshgrid(*[torch.arange(n) for n in image.shape[2:]], indexing="ij")).to(image)
    position = (flow[0] + identity).movedim(0, -1)
    return F.grid_sample(image, (2 * (position / (size - 1) - 0.5)).flip(-1)[None], align_corners=False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_float64(probe, variant) -> None:
    p = probe(f"{CASE}_{variant}")
    network = official_network(p.state_dict(unused=False), p.config, legacy_windows=variant == "legacy").double().eval()
    moving, fixed = (p.inputs(torch.float64)[name] for name in ("moving", "fixed"))
    with torch.no_grad():
        stages = network.encoder(torch.cat([moving, fixed]))
        matched = network.matched(stages)
        flow = network(moving, fixed)
    for level in range(4):
        assert p.intermediate_error(f"moving_stage{level}", stages[level][:1]) <= 2e-5
        assert p.intermediate_error(f"cross{level}_moving", matched[level][:1]) <= 2e-5
    assert p.error("flow64", flow) <= 1e-6
    assert p.error("moved_align_corners_true64", warp(moving, flow)) <= 5e-7
    assert p.error("moved64", warp(moving, as_sampled_officially(flow))) <= 5e-7
    assert p.error("moved64", warp(moving, flow)) > 0.05


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_with_the_buffers_and_unused_parameters_of_the_official_constructor(probe, variant) -> None:
    p = probe(f"{CASE}_{variant}")
    network = official_network(p.state_dict(buffers=True), p.config, legacy_windows=variant == "legacy").eval()
    inputs = p.inputs()
    with torch.no_grad():
        flow = network(inputs["moving"], inputs["fixed"])
    assert flow.dtype == torch.float32
    assert p.error("flow", flow) <= 2e-4
    assert p.error("moved_align_corners_true", warp(inputs["moving"], flow)) <= 1e-4


def test_the_official_sampler_is_not_the_identity_at_a_zero_field() -> None:
    image = torch.ones(1, 1, 8, 8, 8, dtype=torch.float64)
    zero = torch.zeros(1, 3, 8, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(official_sampler(image, zero)[0, 0, 0, 0, 0], torch.tensor(0.125, dtype=torch.float64))
    torch.testing.assert_close(warp(image, zero), image)


def test_the_displacement_of_the_official_sampler() -> None:
    image = torch.rand(1, 1, 8, 7, 5, dtype=torch.float64)
    flow = torch.randn(1, 3, 8, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(warp(image, as_sampled_officially(flow)), official_sampler(image, flow))
