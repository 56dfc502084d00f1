import pytest
import torch
from torch import nn

from regbench.errors import UnknownNameError, WeightsError
from regbench_baselines.official import MOST_LISTED, Official

OFFICIAL = Official("Net", {"width": 4}, lambda own: f"net.{own}", unused=(r"spare\.\d+", r"grid"))


def state(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"net.weight": torch.full((2, 3), 7.0), "net.bias": torch.full((2,), 5.0), **more}


def test_options_are_filled_in_and_unknown_ones_named() -> None:
    assert OFFICIAL.read({}) == {"width": 4}
    assert OFFICIAL.read({"width": 8}) == {"width": 8}
    with pytest.raises(UnknownNameError, match="no option of Net called 'widht'; did you mean 'width'"):
        OFFICIAL.read({"widht": 8})


def test_weights_are_copied_under_their_official_names() -> None:
    network = nn.Linear(3, 2)
    OFFICIAL.load(network, state())
    assert (network.weight == 7).all()
    assert (network.bias == 5).all()


def test_dead_keys_are_accepted_by_name_only() -> None:
    network = nn.Linear(3, 2)
    OFFICIAL.load(network, state(**{"spare.12": torch.ones(1), "grid": torch.ones(1)}))
    with pytest.raises(WeightsError, match=r"2 unexpected: spare\.x, my\.grid"):
        OFFICIAL.load(network, state(**{"spare.x": torch.ones(1), "my.grid": torch.ones(1)}))


def test_every_fault_is_listed_and_nothing_is_loaded() -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    with pytest.raises(WeightsError) as caught:
        OFFICIAL.load(network, {"net.weight": torch.ones(3, 2), "other": torch.ones(1)})
    said = str(caught.value)
    assert "1 missing: net.bias" in said
    assert "1 unexpected: other" in said
    assert "net.weight (3, 2), expected (2, 3)" in said
    assert torch.equal(network.weight, before)


def test_long_lists_are_cut_short_with_their_count() -> None:
    with pytest.raises(WeightsError, match=f"{MOST_LISTED + 5} unexpected: .* and 5 more"):
        OFFICIAL.load(nn.Linear(3, 2), state(**{f"x{n}": torch.ones(1) for n in range(MOST_LISTED + 5)}))
