"""Whether a method would run on a GPU, tried without one on the device of `benchmarks.elsewhere`."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.elsewhere import MixedDevicesError, elsewhere
from benchmarks.training import Training, sent
from regbench.api import Batch, Pair, Shape, Trainable
from regbench.losses import warped_dice
from regbench.registry import Registry
from regbench.testing import scenes


def try_method(name: str, shape: Shape) -> None:
    """One step with masks and one prediction of a trainable method: nothing mixes, and the numbers are the CPU's.

    Args:
        name: in the registry; its quick variant is taken.
        shape: of the scans.

    Raises:
        MixedDevicesError: where tensors of two devices meet.
        AssertionError: where a result lies on the CPU, or is not what the CPU computes.
    """
    method = Registry().load("method", name)()
    method = replace(method, **method.quick)
    if name == "ours-released":
        method = replace(method, contour=0.0)  # a distance transform that is made on the host
    pair = scenes.unlike(shape, masks=True)
    here = _away_from_the_identity(method, pair)
    with elsewhere() as ledger:
        away = deepcopy(here).to(ledger.device)
        far = sent(pair, ledger.device)
        terms, norm = _first_step(method, away, far.batch())
        field = method.predict(away, far).displacement
        assert {value.device for value in (*terms.values(), norm, field)} == {ledger.device}
        expected, expected_norm = _first_step(method, here, pair.batch())
        for term, value in expected.items():
            torch.testing.assert_close(terms[term].cpu(), value, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(norm.cpu(), expected_norm, rtol=2e-2, atol=1e-6)
        torch.testing.assert_close(field.cpu(), method.predict(here, pair).displacement, rtol=0, atol=0.02)


def try_the_overlap() -> None:
    """The Dice loss of warped masks is the CPU's, and the host waits once a pair: to learn where organs border.

    Raises:
        AssertionError: where it is not, or waits for more.
    """
    numbers = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 5, (2, 2, 1, 4, 5, 3), dtype=torch.uint8, generator=numbers)
    masks = coarse.repeat_interleave(4, 3).repeat_interleave(4, 4).repeat_interleave(4, 5)
    masks[masks == 4] = 254
    u = torch.randn(2, 3, 16, 20, 12, dtype=torch.float64, generator=numbers)

    def loss_and_gradient(fixed: Tensor, moving: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        u = u.detach().requires_grad_()
        loss = warped_dice(fixed, moving, u, (1, 3, 254, 9))
        return loss, *torch.autograd.grad(loss, u)

    with elsewhere() as ledger:
        away = [tensor.to(ledger.device) for tensor in (*masks, u)]
        loss_and_gradient(*away)  # which sends the labels, once for all
        ledger.waits.clear()
        found = loss_and_gradient(*away)
        assert ledger.waits == {"nonzero": 2}, f"the host waits for {ledger.waits}"
        for there, here in zip(found, loss_and_gradient(*masks, u), strict=True):
            torch.testing.assert_close(there.cpu(), here, rtol=1e-12, atol=1e-15)


def try_the_device() -> None:
    """Tensors of two devices do not mix on it, and numbers do with either.

    Raises:
        AssertionError: if they do.
    """
    with elsewhere() as ledger:
        one = torch.ones(3, device=ledger.device)
        try:
            _ = one + torch.ones(3)
        except MixedDevicesError:
            assert (one + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]
            return
    raise AssertionError("tensors of two devices were added")


def _away_from_the_identity(method: Trainable, pair: Pair) -> nn.Module:
    """A new network whose last layer, which starts near nothing, is drawn anew."""
    torch.manual_seed(0)
    network = method.network(pair.setting)
    for parameter in network.parameters():
        if 0 < parameter.detach().abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.02)
    return network


def _first_step(method: Trainable, network: nn.Module, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
    training = Training(method, network, batch, "float32", rate=1e-3)
    torch.manual_seed(0)  # for what is dropped in training
    return training.step()
