import pytest
import torch

from regbench.spatial import warp
from regbench_baselines.transmorph import official_network

SMALL = ["transmorph_tiny_w232_64x96x64", "transmorph_tiny_w231_64x96x32"]
CASES = [*SMALL, "transmorph_base_w232_64x96x64"]
VARIANTS = ["corrected", "legacy"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_float64(probe, case, variant) -> None:
    p = probe(f"{case}_{variant}")
    network = official_network(p.state_dict(), p.config, legacy_windows=variant == "legacy").double().eval()
    inputs = p.inputs(torch.float64)
    with torch.no_grad():
        stages = network.encoder(torch.cat([inputs["moving"], inputs["fixed"]], 1))
        flow = network(inputs["moving"], inputs["fixed"])
    for level, stage in enumerate(stages):
        assert p.intermediate_error(f"stage{level}", stage) <= 2e-5
    assert p.error("flow64", flow) <= 1e-6
    assert p.error("moved64", warp(inputs["moving"], flow)) <= 5e-7


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_float32_with_the_buffers_of_the_official_constructor(probe, case, variant) -> None:
    p = probe(f"{case}_{variant}")
    network = official_network(p.state_dict(buffers=True), p.config, legacy_windows=variant == "legacy").eval()
    inputs = p.inputs()
    with torch.no_grad():
        flow = network(inputs["moving"], inputs["fixed"])
    assert flow.dtype == torch.float32
    assert p.error("flow", flow) <= 2e-4
    assert p.error("moved", warp(inputs["moving"], flow)) <= 1e-4


@pytest.mark.parametrize("case", SMALL)
def test_the_probe_tells_the_two_orders_of_windows_apart(probe, case) -> None:
    p = probe(f"{case}_corrected")
    network = official_network(p.state_dict(), p.config, legacy_windows=True).eval()
    with torch.no_grad():
        flow = network(**{name: p.inputs()[name] for name in ("moving", "fixed")})
    assert p.error("flow", flow) > 1
