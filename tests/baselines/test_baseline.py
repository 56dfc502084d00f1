"""Networks that start from a file of weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from regbench.api import Setting
from regbench.errors import WeightsError
from regbench_baselines import transmatch, transmorph
from regbench_baselines.baseline import Baseline
from regbench_baselines.corrmlp import CorrMLP
from regbench_baselines.layers.window_attention import WindowAttention
from regbench_baselines.transmatch import TransMatch, as_sampled_officially
from regbench_baselines.transmorph import TransMorph
from regbench_baselines.voxelmorph import VoxelMorph

SETTING = Setting((32, 24, 40), (2.0, 2.0, 2.0))
WINDOW = (2, 2, 2)
TINY = {"variant": "tiny", "window": WINDOW}
NARROW = {"channels": 8, "window": WINDOW}


def stored(method: Baseline, folder: Path, *, official: bool, prefix: str = "") -> Path:
    """Weights of a new network, its head made larger, under their official names or regbench's own."""
    torch.manual_seed(0)
    state = method.build(SETTING).state_dict()
    state = {key: 1e4 * value if key.startswith("head") else value for key, value in state.items()}
    names = {key: prefix + (method.official.key_of(key) if official else key) for key in state}
    file = folder / "weights.pt"
    torch.save({"state_dict": {names[key]: value for key, value in state.items()}, "epoch": 3}, file)
    return file


def field(network: nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    moving, fixed = torch.rand(2, 1, 1, 32, 24, 40)
    with torch.no_grad():
        return network.eval()(moving, fixed)


def rules(network: nn.Module) -> set[str]:
    return {module.rules for module in network.modules() if isinstance(module, WindowAttention)}


@pytest.mark.parametrize(
    "method", [VoxelMorph(), CorrMLP(encoder_channels=4, decoder_channels=8), TransMorph(**TINY), TransMatch(**NARROW)]
)
@pytest.mark.parametrize(("official", "prefix"), [(False, ""), (True, "module.")])
def test_every_baseline_starts_from_own_and_official_weights(tmp_path, method, official, prefix) -> None:
    file = stored(method, tmp_path, official=official, prefix=prefix)
    torch.manual_seed(0)
    expected = method.build(SETTING).state_dict()
    loaded = type(method)(**{**vars(method), "weights": file}).network(SETTING).state_dict()
    assert all(torch.equal(loaded[key], 1e4 * v if key.startswith("head") else v) for key, v in expected.items())


def test_official_weights_of_transmorph_bring_the_official_rules(tmp_path) -> None:
    file = stored(TransMorph(**TINY), tmp_path, official=True)
    state = torch.load(file)["state_dict"]
    config = {"embed_dim": 6, "num_heads": (2, 2, 4, 4), "window_size": WINDOW}
    for given, legacy in ((None, False), ("legacy", True)):
        network = TransMorph(**TINY, weights=file, window_rules=given).network(SETTING)
        expected = transmorph.official_network(state, config, legacy_windows=legacy)
        assert rules(network) == rules(expected) == {given or "official"}
        assert torch.equal(field(network), field(expected))
    assert rules(TransMorph(**TINY, weights=file, window_rules="masked").network(SETTING)) == {"masked"}


def test_official_weights_of_transmatch_bring_its_shuffle_and_its_sampler(tmp_path) -> None:
    file = stored(TransMatch(**NARROW), tmp_path, official=True)
    config = {"embed_dim": 8, "window_size": WINDOW}
    expected = field(transmatch.official_network(torch.load(file)["state_dict"], config, legacy_windows=True))
    network = TransMatch(**NARROW, weights=file).network(SETTING)
    assert rules(network) == {"legacy"}
    assert torch.equal(field(network), as_sampled_officially(expected))
    without = TransMatch(**NARROW, weights=file, official_sampler=False).network(SETTING)
    assert torch.equal(field(without), expected)


def test_own_weights_bring_nothing(tmp_path) -> None:
    file = stored(TransMatch(**NARROW), tmp_path, official=False)
    network = TransMatch(**NARROW, weights=file).network(SETTING)
    assert rules(network) == rules(TransMatch(**NARROW).network(SETTING)) == {"masked"}
    assert torch.equal(
        field(network), field(TransMatch(**NARROW, weights=file, official_sampler=False).network(SETTING))
    )


def test_weights_that_do_not_fit_the_fields_are_a_sentence(tmp_path) -> None:
    file = stored(TransMorph(**TINY), tmp_path, official=True)
    with pytest.raises(WeightsError, match=r"relative_position_bias_table \(27, 2\), expected \(45, 2\)"):
        TransMorph(variant="tiny", window=(3, 2, 2), weights=file).network(SETTING)
    with pytest.raises(WeightsError, match="do not fit TransMorph as configured"):
        TransMorph(window=WINDOW, weights=file).network(SETTING)
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"1 unexpected: some\.weight"):
        TransMorph(**TINY, weights=tmp_path / "other.safetensors").network(SETTING)
