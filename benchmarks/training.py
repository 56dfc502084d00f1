"""A training step as the engine does it, on any device."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regbench.api import Batch, Pair, Trainable
from regbench.engine.training.terms import gradient_norm, weighted_sum


class Training:
    """A network and its optimiser, step by step as the training loop does it."""

    def __init__(self, method: Trainable, network: nn.Module, batch: Batch, precision: str, rate: float = 1e-4) -> None:
        self.method, self.network, self.batch, self.precision = method, network, batch, precision
        self.weights = method.training("paper").weights
        self.parameters = list(network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, rate, fused=True)

    def step(self) -> tuple[Mapping[str, Tensor], Tensor]:
        """The loss terms and the norm of the gradient."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.batch.fixed.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            terms = self.method.losses(self.network, self.batch)
        weighted_sum(terms, self.weights).backward()
        norm = gradient_norm(self.parameters)
        self.optimiser.step()
        return {name: value.detach() for name, value in terms.items()}, norm


def sent(pair: Pair, device: torch.device) -> Pair:
    """The pair on another device."""
    volumes = (pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask)
    return Pair(*(volume and volume.to(device) for volume in volumes), pair.labels)
