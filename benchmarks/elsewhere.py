"""A device that is none: what runs on it shows, without a GPU, whether it would run on one.

Its tensors say that they lie elsewhere, and mix with no tensor of the CPU, as those of a GPU; underneath they are the
CPU's (so that results can be compared) or have no content at all (so that memory can be counted at any size). Whatever
asks for something else than "cpu" takes the way that it takes on a GPU.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from regbench.api import Batch

aten = torch.ops.aten
NAME = "elsewhere"
BLOCK = 512
"""Bytes that an allocator rounds up to."""
BORDER = 0.05
"""The share of voxels that is taken to lie on the border of an organ where there is no content to look at."""
_MIXES = {aten.copy_, aten._to_copy, aten.index, aten.index_put_, aten._index_put_impl_}
_WAITS = {aten._local_scalar_dense, aten.nonzero, aten.bincount, aten.equal}


class MixedDevicesError(RuntimeError):
    """An operation was given tensors of the CPU and of the device."""


@dataclass
class Ledger:
    """What happened on the device.

    Attributes:
        content: whether tensors have any.
        waits: operation → how often the host had to wait for it.
        now: bytes alive.
        peak: the most so far.
    """

    content: bool = True
    waits: dict[str, int] = field(default_factory=dict)
    now: int = 0
    peak: int = 0

    @property
    def device(self) -> torch.device:
        """To be named where tensors are made or sent."""
        return torch.device(NAME, 0)

    def waited(self, operation: Any) -> None:
        """Count one."""
        name = str(operation).removeprefix("aten.")
        self.waits[name] = self.waits.get(name, 0) + 1

    def hold(self, tensor: Tensor) -> None:
        """Count the memory of a tensor until it is let go of, once for all that share it."""
        storage = tensor.untyped_storage()
        if hasattr(storage, "counted"):
            return
        storage.counted = True
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.now -= size


_ledger = Ledger()


class Elsewhere(torch.Tensor):
    """A tensor on the device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        """Around a tensor that holds the content."""
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        """The content."""
        return f"Elsewhere({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        return _run(function, args, kwargs or {})


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    operation = function.overloadpacket
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    _check(function, tensors)
    _note(operation, args, kwargs)
    if operation is aten._fused_sdp_choice:
        return 0  # the plain kernel, which is the only one that the CPU has for this device
    result = None if _ledger.content else _answer(operation, args)
    if result is None:
        result = function(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if operation is aten._to_copy and torch.device(kwargs.get("device") or NAME).type == "cpu":
        return result.clone() if _ledger.content else torch.ones_like(result, device="cpu")
    return return_and_correct_aliasing(function, args, kwargs, tree_map(_wrapped, result))


def _check(function: Any, tensors: list[Tensor]) -> None:
    here = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.dim() > 0]
    if here and len(here) < len(tensors) and function.overloadpacket not in _MIXES:
        shapes = [tuple(tensor.shape) for tensor in here]
        raise MixedDevicesError(f"{function} was given tensors of the CPU, of shape {shapes}, among the device's.")


def _note(operation: Any, args: Any, kwargs: dict[str, Any]) -> None:
    by_mask = operation is aten.index and any(i is not None and i.dtype == torch.bool for i in args[1])
    transfer = operation is aten.copy_ and isinstance(args[0], Elsewhere) != isinstance(args[1], Elsewhere)
    home = operation is aten._to_copy and torch.device(kwargs.get("device") or NAME).type != NAME
    if operation in _WAITS or by_mask or transfer or home:
        _ledger.waited(operation)


def _inner(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu" if _ledger.content else "meta")
    return leaf.inner if isinstance(leaf, Elsewhere) else leaf


def _wrapped(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or isinstance(leaf, Elsewhere):
        return leaf
    _ledger.hold(leaf)
    return Elsewhere(leaf)


def _answer(operation: Any, args: Any) -> Any:
    """What an operation whose result depends on content is taken to give; None for all others."""
    if operation is aten._local_scalar_dense:
        return True if args[0].dtype == torch.bool else 1
    if operation is aten.bincount:
        weighted = len(args) > 1 and args[1] is not None
        return args[0].inner.new_empty(256, dtype=torch.float64 if weighted else torch.int64)
    if operation is aten.nonzero:
        return args[0].inner.new_empty(_some(args[0]), args[0].dim(), dtype=torch.int64)
    if operation is aten.index and args[1][0] is not None and args[1][0].dtype == torch.bool:
        mask = args[1][0]
        return args[0].inner.new_empty(_some(mask), *args[0].shape[mask.dim() :])
    return None


def _some(of: Tensor) -> int:
    return max(1, int(BORDER * of.numel()))


class _Lists(TorchFunctionMode):
    """Torch fills a new tensor from a list by a way that the device does not see."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.__getitem__ and isinstance(args[1], tuple):
            index = tuple(torch.tensor(one) if isinstance(one, list) else one for one in args[1])
            return function(args[0], index)
        if function is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(*args[1:], dtype=args[0].dtype).to(NAME)
        if function in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == NAME:
            return function(*args, **{**kwargs, "device": "cpu"}).to(NAME)
        return function(*args, **kwargs)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_library: list[torch.library.Library] = []


@contextmanager
def elsewhere(*, content: bool = True) -> Iterator[Ledger]:
    """The device, for as long as the block lasts."""
    global _ledger
    if not _library:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        _library.append(torch.library.Library("_", "IMPL"))
        _library[0].fallback(lambda function, *args, **kwargs: _run(function, args, kwargs), "PrivateUse1")
    _ledger = Ledger(content)
    generator = torch.Generator()  # the device has none of its own
    with _Lists(), mock.patch.object(Batch, "generator", lambda batch: generator.manual_seed(batch.seed)):
        yield _ledger
