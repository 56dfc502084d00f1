import pytest
import torch

from regbench.spatial import warp
from regbench_methods.ours_released import INPUTS, OFFICIAL, CNNAttentionNet, official_network

CASE = "ipmi_cnn_attention_net_32x40x48"


@pytest.mark.parametrize(
    ("dtype", "suffix", "voxels", "intensity"), [(torch.float64, "64", 1e-6, 5e-7), (torch.float32, "", 2e-4, 1e-4)]
)
def test_flow_and_moved_are_the_official_ones(probe, dtype, suffix, voxels, intensity) -> None:
    p = probe(CASE)
    network = official_network(p.state_dict(buffers=True), p.config).to(dtype).eval()
    inputs = p.inputs(dtype)
    with torch.no_grad():
        flow = network(*(inputs[name] for name in INPUTS))
    assert p.error(f"flow{suffix}", flow) <= voxels
    assert p.error(f"moved_align_corners_true{suffix}", warp(inputs["moving"], flow)) <= intensity
    assert p.error(f"moved{suffix}", released_warp(inputs["moving"], flow)) <= intensity


def released_warp(image: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The release's sampler: what is meant for position p of an axis of s voxels is read at p·s/(s − 1) − ½."""
    sizes = u.new_tensor(u.shape[2:]).view(1, 3, 1, 1, 1)
    x = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=u.dtype) for n in u.shape[2:]], indexing="ij"))
    return warp(image, (x + u) * sizes / (sizes - 1) - 0.5 - x)


def test_dead_keys_may_be_absent(probe) -> None:
    p = probe(CASE)
    whole, live = p.state_dict(buffers=True), p.state_dict(unused=False)
    assert len(live) < len(whole)
    network = official_network(live, p.config)
    assert all(torch.equal(live[official], value) for official, value in _by_official_key(network).items())


def _by_official_key(network: CNNAttentionNet) -> dict[str, torch.Tensor]:
    return {OFFICIAL.key_of(key): value for key, value in network.state_dict().items()}


def test_intermediates(probe) -> None:
    p = probe(CASE)
    network = official_network(p.state_dict(), p.config).eval()
    inputs = p.inputs()
    with torch.no_grad():
        field4, field3, field2, _ = network.fields(*(inputs[name] for name in INPUTS))
        found = {"field4": field4, "field3": field3, "field2": field2}
        for name, short in (("moving", "moving_img"), ("fixed_mask", "fixed_mask")):
            maps = network.encoders[name](inputs[name])
            found |= {f"{short}{level}": features for level, features in enumerate(maps, 1)}
    for name, features in found.items():
        assert p.intermediate_error(name, features) <= 5e-5, name


def test_only_live_parameters_are_carried(probe) -> None:
    meta = probe(CASE).meta
    count = sum(value.numel() for value in CNNAttentionNet().parameters())
    assert count == meta["weights"]["n_parameters"] - meta["n_unused"] == 1_192_872
