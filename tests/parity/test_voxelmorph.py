import pytest
import torch

from regbench.spatial import warp
from regbench_baselines.voxelmorph import VoxelMorphNet, official_network

CASES = ["vxm_int7_ds2_32x48x64", "vxm_int0_48x32x64"]


@pytest.mark.parametrize("case", CASES)
def test_float64(probe, case) -> None:
    p = probe(case)
    network = official_network(p.state_dict(), p.config).double().eval()
    inputs = p.inputs(torch.float64)
    with torch.no_grad():
        velocity = network.velocity(inputs["moving"], inputs["fixed"])
        flow = network.displacement(velocity, p.meta["shape"])
    assert flow.dtype == torch.float64
    assert p.intermediate_error("preint_flow", velocity) <= 1e-5
    assert p.error("flow64", flow) <= 1e-6
    assert p.error("moved64", warp(inputs["moving"], flow)) <= 5e-7


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("buffers", [False, True])
def test_float32_with_and_without_the_grids_of_the_official_constructor(probe, case, buffers) -> None:
    p = probe(case)
    network = official_network(p.state_dict(buffers=buffers), p.config).eval()
    inputs = p.inputs()
    with torch.no_grad():
        flow = network(inputs["moving"], inputs["fixed"])
    assert flow.dtype == torch.float32
    assert p.error("flow", flow) <= 2e-4
    assert p.error("moved", warp(inputs["moving"], flow)) <= 1e-4


def test_parameters_are_counted_as_official() -> None:
    assert sum(value.numel() for value in VoxelMorphNet().parameters()) == 327_331
