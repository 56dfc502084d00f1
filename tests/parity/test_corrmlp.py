import pytest
import torch

from regbench.spatial import warp
from regbench_baselines.corrmlp import CorrMLPNet, official_network
from regbench_baselines.layers.correlation import correlation

CASE = "corrmlp_e8_d16_24x32x40"


def test_float64(probe) -> None:
    p = probe(CASE)
    network = official_network(p.state_dict(), p.config).double().eval()
    inputs = p.inputs(torch.float64)
    with torch.no_grad():
        flow = network(inputs["moving"], inputs["fixed"])
    assert p.error("flow64", flow) <= 1e-6
    assert p.error("moved64", warp(inputs["moving"], flow)) <= 5e-7


def test_float32(probe) -> None:
    p = probe(CASE)
    network = official_network(p.state_dict(), p.config).eval()
    inputs = p.inputs()
    with torch.no_grad():
        flow = network(inputs["moving"], inputs["fixed"])
    assert p.error("flow", flow) <= 2e-4
    assert p.error("moved", warp(inputs["moving"], flow)) <= 1e-4


def test_intermediates(probe) -> None:
    p = probe(CASE)
    network = official_network(p.state_dict(), p.config).eval()
    inputs = p.inputs()
    with torch.no_grad():
        fixed, moving = network.encoder(inputs["fixed"]), network.encoder(inputs["moving"])
        x = network.cross[-1](fixed[-1], moving[-1])
        found = {f"encoder_fixed{level}": features for level, features in enumerate(fixed, 1)}
        found |= {"corr4": correlation(fixed[-1], moving[-1]), "cmw4": x, "flow4": network.heads[-1](x)}
        found["expand3"] = network.expand[-1](x)
    assert set(found) == set(p.meta["intermediate"])
    for name, features in found.items():
        assert p.intermediate_error(name, features) <= 5e-5, name


@pytest.mark.parametrize(("encoder", "decoder", "count"), [(8, 16, 4_190_834), (16, 32, 13_361_578)])
def test_parameters_are_counted_as_official(encoder, decoder, count) -> None:
    assert sum(value.numel() for value in CorrMLPNet(encoder, decoder).parameters()) == count
