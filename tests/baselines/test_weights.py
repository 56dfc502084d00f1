import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from regbench.errors import WeightsError
from regbench_baselines.official import Official
from regbench_baselines.weights import load_weights, read_weights

OFFICIAL = Official("Net", {}, lambda own: f"net.{own}")
STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([8.0, 9.0])}


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_safetensors(tmp_path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors"), STATE)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state", "model_state_dict"])
def test_torch_files_bare_or_in_a_checkpoint(tmp_path, wrapper) -> None:
    content = STATE if wrapper is None else {wrapper: STATE, "epoch": 3, "config": {"inshape": (1, 2), "x": None}}
    torch.save(content, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt"), STATE)


def test_a_best_score_kept_as_a_numpy_number_does_not_hinder(tmp_path) -> None:
    optimiser = torch.optim.Adam(nn.Linear(3, 2).parameters()).state_dict()
    torch.save({"epoch": 1, "state_dict": STATE, "best_dsc": np.float64(0.7), "optimizer": optimiser}, tmp_path / "w")
    assert same(read_weights(tmp_path / "w"), STATE)


def test_the_prefix_of_parallel_training_is_dropped(tmp_path) -> None:
    torch.save({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt"), STATE)


def test_a_whole_model_is_refused_with_the_way_to_convert_it(tmp_path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"whole model.*torch\.save\(model\.state_dict\(\), 'model_state\.pt'\)"):
        read_weights(tmp_path / "model.pth")


def test_no_code_of_a_file_is_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the file's code ran",))

    torch.save({"state_dict": Trap()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="would run the code inside"):
        read_weights(tmp_path / "w.pt")


def spoiled(folder, kind: str):
    file = folder / ("w.safetensors" if kind == "safetensors" else "w.pt")
    whole = folder / "whole.pt"
    torch.save(STATE, whole)
    contents = {
        "empty": b"",
        "text": b"these are no weights\n",
        "truncated": whole.read_bytes()[:-200],
        "safetensors": b"\x00\x01\x02",
        "pickle": pickle.dumps({"a": 1}),
    }
    file.write_bytes(contents[kind])
    return file


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "safetensors", "pickle"])
def test_other_files_are_a_sentence(tmp_path, kind) -> None:
    with pytest.raises(WeightsError, match=r"w\.(pt|safetensors)"):
        read_weights(spoiled(tmp_path, kind))


def test_missing_files_and_files_without_weights(tmp_path) -> None:
    with pytest.raises(WeightsError, match="There is no weights file"):
        read_weights(tmp_path / "nothing.pt")
    torch.save({"epoch": 3, "history": [1.0]}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds no state_dict.*epoch, history"):
        read_weights(tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds a list"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("prefix", ["", "net."])
def test_own_and_official_names_are_told_apart(tmp_path, prefix) -> None:
    torch.save({prefix + key: value for key, value in STATE.items()}, tmp_path / "w.pt")
    network = nn.Linear(3, 2)
    load_weights(network, tmp_path / "w.pt", OFFICIAL)
    assert same(dict(network.state_dict()), STATE)


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    torch.save({"net.weight": STATE["weight"], "net.other": STATE["bias"]}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"1 missing: net\.bias; 1 unexpected: net\.other"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.pt", OFFICIAL)
