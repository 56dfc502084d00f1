"""Every trainable method on a device that is not the CPU: nothing mixes, little waits, and the numbers are the same."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.elsewhere import MixedDevicesError, elsewhere
from regbench.api import Batch, Pair, Trainable
from regbench.engine.terms import gradient_norm, weighted_sum
from regbench.registry import Registry
from regbench.testing import scenes

SHAPE = (16, 24, 18)


def trainable() -> list[str]:
    registry = Registry()
    return [name for name in registry.names("method") if issubclass(registry.load("method", name), Trainable)]


def step(method: Trainable, network: nn.Module, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
    """One step as the training loop does it: the loss terms and the norm of the gradient."""
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, 1e-3, fused=True)
    torch.manual_seed(0)  # for what is dropped in training
    terms = method.losses(network, batch)
    weighted_sum(terms, method.training("paper").weights).backward()
    norm = gradient_norm(parameters)
    optimiser.step()
    return terms, norm


@pytest.mark.parametrize("name", trainable())
def test_a_step_and_a_prediction(name: str) -> None:
    method = Registry().load("method", name)()
    method = replace(method, **method.quick)
    if name == "ours-released":
        method = replace(method, contour=0.0)  # a distance transform that is made on the host
    pair = scenes.unlike(SHAPE, masks=True)
    torch.manual_seed(0)
    here = method.network(pair.setting)
    for parameter in here.parameters():
        if 0 < parameter.detach().abs().max() < 1e-3:  # the last layer, which starts near nothing
            nn.init.normal_(parameter, std=0.02)
    with elsewhere() as ledger:
        away = deepcopy(here).to(ledger.device)
        volumes = (pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask)
        far = Pair(*(volume and volume.to(ledger.device) for volume in volumes), pair.labels)
        batch = far.batch()
        terms, norm = step(method, away, batch)
        field = method.predict(away, far).displacement
        assert {value.device for value in (*terms.values(), norm, field)} == {ledger.device}
        expected, expected_norm = step(method, here, pair.batch())
        for term, value in expected.items():
            torch.testing.assert_close(terms[term].detach().cpu(), value.detach(), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(norm.cpu(), expected_norm, rtol=2e-2, atol=1e-6)
        torch.testing.assert_close(field.cpu(), method.predict(here, pair).displacement, rtol=0, atol=0.02)


def test_tensors_of_two_devices_do_not_mix() -> None:
    with elsewhere() as ledger:
        one = torch.ones(3, device=ledger.device)
        with pytest.raises(MixedDevicesError, match="of the CPU"):
            _ = one + torch.ones(3)
        assert (one + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]
