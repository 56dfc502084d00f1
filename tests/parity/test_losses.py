"""Losses against the official ones' values and gradients, on inputs by formula."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.losses import gradient_penalty, lncc, mse, soft_dice, warped_dice

OFFICIAL: dict[str, Any] = json.loads((Path(__file__).parent / "probes" / "losses.json").read_text())
SHAPE: list[int] = OFFICIAL["shape"]

Inputs = dict[str, Tensor]


def _wave(terms: list[Any], lead: tuple[int, ...] = ()) -> np.ndarray:
    index = np.indices((*lead, *SHAPE)).astype(np.float64)
    return sum(
        weight * np.prod([np.sin(np.tensordot(slopes, index, 1) + phase) for *slopes, phase in factors], axis=0)
        for weight, factors in terms
    )


def _image(spec: dict[str, Any]) -> Tensor:
    return torch.from_numpy((0.5 + 0.5 * _wave(spec["terms"])).astype(np.float32))[None, None]


def _labels(spec: dict[str, Any]) -> Tensor:
    return torch.from_numpy((_wave(spec["terms"])[..., None] > np.array(spec["thresholds"])).sum(-1))


def _one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, 5).permute(3, 0, 1, 2)[None].float()


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    specs = OFFICIAL["inputs"]
    fixed, moved = _image(specs["I"]), _image(specs["J"])
    flow = torch.from_numpy(
        np.stack([part["scale"] * _wave(part["terms"]) for part in specs["flow"]["components"]]).astype(np.float32)
    )
    soft = (specs["soft5"]["scale"] * _wave(specs["soft5"]["terms"], (5,))).astype(np.float32)
    label_a, label_b = _labels(specs["label_a"]), _labels(specs["label_b"])
    place = torch.arange(SHAPE[0]).view(-1, 1, 1)
    made = {
        "I": fixed,
        "J": moved,
        "I_bg": fixed * (place >= 12),
        "J_bg": moved * (place >= 10),
        "flow": flow[None],
        "flow_b2": torch.stack([flow, 0.5 * flow.flip(1)]),
        "soft5": torch.from_numpy(soft).double().softmax(0).float()[None],
        "label_a": label_a,
        "label_b": label_b,
        "a": _one_hot(label_a),
        "b": _one_hot(label_b),
    }
    for name, check in OFFICIAL["input_check"].items():
        if "mean" in check and name in made:
            assert made[name].double().mean().item() == pytest.approx(check["mean"], abs=1e-8)
        elif "counts" in check:
            assert torch.bincount(made[name].flatten()).tolist() == check["counts"]
    return made


def _voxelmorph_dice(a: Tensor, b: Tensor) -> Tensor:
    return soft_dice(a, b) - 1


VALUES: dict[str, Callable[[Inputs], Tensor]] = {
    "ncc_win9": lambda x: lncc(x["I"], x["J"]),
    "ncc_background_win9": lambda x: lncc(x["I_bg"], x["J_bg"]),
    "ncc_win5": lambda x: lncc(x["I"], x["J"], window=5),
    "ncc_background_win5": lambda x: lncc(x["I_bg"], x["J_bg"], window=5),
    "ncc_win3": lambda x: lncc(x["I"], x["J"], window=3),
    "ncc_background_win3": lambda x: lncc(x["I_bg"], x["J_bg"], window=3),
    "ncc_self": lambda x: lncc(x["I"], x["I"]),
    "ncc_inverted": lambda x: lncc(x["I"], 1 - x["I"]),
    "ncc_transmorph": lambda x: lncc(x["I"], x["J"]),
    "ncc_transmatch": lambda x: lncc(x["I"], x["J"]),
    "ncc_corrmlp": lambda x: lncc(x["I"], x["J"]),
    "mse": lambda x: mse(x["I"], x["J"]),
    "grad_l2": lambda x: gradient_penalty(x["flow"]),
    "grad_l2_mult2": lambda x: 2 * gradient_penalty(x["flow"]),
    "grad_l2_batch2": lambda x: gradient_penalty(x["flow_b2"]),
    "grad_l2_transmorph": lambda x: gradient_penalty(x["flow"]),
    "grad_l2_transmatch": lambda x: gradient_penalty(x["flow"]),
    "grad_l2_corrmlp": lambda x: gradient_penalty(x["flow"]),
    "dice_voxelmorph_onehot": lambda x: _voxelmorph_dice(x["a"], x["b"]),
    "dice_voxelmorph_soft": lambda x: _voxelmorph_dice(x["a"], x["soft5"]),
    "dice_voxelmorph_soft_no_background": lambda x: _voxelmorph_dice(x["a"][:, 1:], x["soft5"][:, 1:]),
    "dice_transmorph_onehot": lambda x: soft_dice(x["b"], x["a"]),
    "dice_val_transmorph": lambda x: 1 - soft_dice(x["b"], x["a"]),
    "dsc_transmatch_label1": lambda x: 1 - soft_dice(x["a"][:, 1:2], x["b"][:, 1:2]),
    "dsc_transmatch_label4": lambda x: 1 - soft_dice(x["a"][:, 4:5], x["b"][:, 4:5]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_in_float64(name: str, inputs: Inputs) -> None:
    official = OFFICIAL["values"][name]
    value = VALUES[name]({key: tensor.double() for key, tensor in inputs.items()}).item()
    if "float64" in official:
        assert value == pytest.approx(official["float64"], rel=1e-7)
    else:
        assert value == pytest.approx(official["float32"], rel=1e-5)


@pytest.mark.parametrize("name", VALUES)
def test_values_in_float32(name: str, inputs: Inputs) -> None:
    official = OFFICIAL["values"][name]
    value = VALUES[name](inputs)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(official.get("float64", official.get("float32")), rel=1e-6)


def test_warped_dice_at_rest_is_the_hard_dice(inputs: Inputs) -> None:
    masks = [inputs[name].to(torch.uint8)[None, None] for name in ("label_a", "label_b")]
    value = warped_dice(*masks, torch.zeros(1, 3, *SHAPE), tuple(range(5)))
    assert 1 - value.item() == pytest.approx(-OFFICIAL["values"]["dice_voxelmorph_onehot"]["float64"], rel=1e-6)


GRADIENTS: dict[str, tuple[str, Callable[[Inputs, Tensor], Tensor]]] = {
    "ncc_dJ": ("J", lambda x, moved: lncc(x["I"], moved)),
    "ncc_background_dJ": ("J_bg", lambda x, moved: lncc(x["I_bg"], moved)),
    "grad_l2_dflow": ("flow", lambda x, flow: gradient_penalty(flow)),
    "dice_voxelmorph_dsoft": ("soft5", lambda x, soft: soft_dice(x["a"], soft)),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str, dtype: torch.dtype, tolerance: float, inputs: Inputs) -> None:
    official = OFFICIAL["gradients"][name]
    at, loss = GRADIENTS[name]
    made = {key: tensor.to(dtype) for key, tensor in inputs.items()}
    made[at].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(made, made[at]), made[at])
    index = np.array(official["index"]).T
    scale = official["absmax"]
    np.testing.assert_allclose(gradient[0].numpy()[tuple(index)], official["value"], rtol=0, atol=tolerance * scale)
    assert gradient.double().norm().item() == pytest.approx(official["norm"], rel=max(tolerance, 1e-7))
    assert gradient.abs().max().item() == pytest.approx(scale, rel=max(tolerance, 1e-7))
