"""Peak memory of a training step on a GPU, counted without one: `python -m benchmarks.memory` prints a table.

A step runs at full size in float32 on tensors that have no content, and the bytes of those that are alive are added up.
These are counts, not measurements: cuDNN's workspaces, what the allocator loses between its blocks and the CUDA context
are not in them. Attention is counted as PyTorch's memory-efficient kernel, which a GPU has for all that regbench asks;
the plain one would hold every map. 5 % of all voxels are taken to lie on the border of an organ.
"""

import argparse
import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import _lru_cache_wrapper
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.elsewhere import Ledger, elsewhere
from benchmarks.training import Training
from regbench.api import Batch, Setting, Trainable
from regbench.registry import Registry

GIB = 2**30
GOAL_GIB = 24
LABELS = tuple(range(1, 14))


@dataclass(frozen=True)
class Count:
    """A step's peak.

    Attributes:
        method: its name.
        checkpointing: whether activations are made again in the backward pass.
        parameters: how many.
        peak: bytes.
    """

    method: str
    checkpointing: bool
    parameters: int
    peak: int

    def row(self) -> str:
        """A line of the table."""
        name = f"{self.method}{', checkpointing' if self.checkpointing else ''}"
        fits = "yes" if self.peak <= GOAL_GIB * GIB else "no"
        return f"| {name} | {self.parameters / 1e6:.2f} M | {self.peak / GIB:.1f} | {fits} |"


def counted(name: str, method: Trainable, size: int) -> Count:
    """The peak of one step of a training that is under way, with masks of 13 organs.

    Args:
        name: the method's.
        method: configured.
        size: voxels along each axis.
    """
    setting = Setting((size, size, size), (2.0, 2.0, 2.0), LABELS)
    shape = (1, 1, *setting.shape)
    with torch.device("meta"):
        network = method.network(setting)
    _forget()
    with ExitStack() as held:
        held.enter_context(mock.patch.object(F, "scaled_dot_product_attention", efficient_attention))
        ledger = held.enter_context(elsewhere(content=False))
        _send(network, ledger)
        images = [torch.empty(shape, device=ledger.device) for _ in range(2)]
        masks = [torch.empty(shape, device=ledger.device, dtype=torch.uint8) for _ in range(2)]
        _step(method, network, Batch(images[0], images[1], masks[0], masks[1], setting))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Count(name, bool(getattr(method, "checkpointing", False)), parameters, ledger.peak)


def _step(method: Trainable, network: nn.Module, batch: Batch) -> None:
    training = Training(method, network, batch, "float32")
    for parameter in training.parameters:
        parameter.grad = torch.zeros_like(parameter)
    training.optimiser.step()  # gives it its state
    good = [tensor.clone() for tensor in network.state_dict().values()]  # which the training loop keeps
    training.step()
    del good


def _forget() -> None:
    """Empty regbench's caches: what they hold of an earlier step would not be counted in this one."""
    for found in gc.get_objects():
        if type(found) is _lru_cache_wrapper and str(found.__module__).startswith("regbench"):
            found.cache_clear()


def _send(network: nn.Module, ledger: Ledger) -> None:
    """Give a network without content weights on the device, laid out as before."""

    def like(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=ledger.device)

    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(like(weight)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, like(buffer))


def efficient_attention(
    query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None = None, scale: float
) -> Tensor:
    """`F.scaled_dot_product_attention` by the memory-efficient kernel, its mask padded as that wants it."""
    if attn_mask is not None:
        tokens = attn_mask.shape[-1]
        attn_mask = F.pad(attn_mask, (0, -tokens % 8))[..., :tokens].expand(*query.shape[:2], -1, -1)
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    result: Tensor = kernel(query, key, value, attn_mask, torch.is_grad_enabled(), scale=scale)[0]
    return result


def counts(names: Sequence[str], size: int) -> Iterator[Count]:
    """Every trainable method of these names, or every one, with and without checkpointing."""
    registry = Registry()
    countable = [name for name in registry.names("method") if name != "ours-released"]  # whose contours the host makes
    for name in names or countable:
        made = registry.load("method", name)
        if issubclass(made, Trainable):
            for checkpointing in (False, True):
                yield counted(name, replace(made(), checkpointing=checkpointing), size)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Count the peak memory of a training step on a GPU, without one.")
    parser.add_argument("methods", nargs="*", help="all that can be trained, if none is named")
    parser.add_argument("--size", type=int, default=160, help="voxels along each axis")
    chosen = parser.parse_args()
    print(f"Counted, not measured: live tensors of a training step at {chosen.size}³, batch 1, float32.\n")  # noqa: T201
    print(f"| method | parameters | GiB | within {GOAL_GIB} GiB |\n|---|---|---|---|")  # noqa: T201
    for count in counts(chosen.methods, chosen.size):
        print(count.row(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
