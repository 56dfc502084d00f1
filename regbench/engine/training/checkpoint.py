"""Weights and the state of a training on disk."""

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from regbench.data.files.atomic import write_bytes
from regbench.errors import CheckpointError, WeightsError

Weights = Mapping[str, Tensor]
_VERSION = 1
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True)
class Best:
    """The weights with the best validation score so far.

    Attributes:
        step: after which they were found.
        score: the higher the better.
        weights: on the CPU.
    """

    step: int
    score: float
    weights: Weights


@dataclass(frozen=True, slots=True)
class State:
    """All that a training needs to go on as if it had never stopped.

    Attributes:
        step: how many are done.
        seconds: of training proper, over all sittings.
        wall_seconds: with validation and checkpoints.
        peak_memory_mib: the highest over all sittings.
        network: its state_dict.
        optimiser: its state_dict.
        best: the best weights, or None before the first validation.
        finished: whether it has come to its end, and its weights are written.
    """

    step: int
    seconds: float
    wall_seconds: float
    peak_memory_mib: float
    network: Mapping[str, Any]
    optimiser: Mapping[str, Any]
    best: Best | None
    finished: bool = False


def write_state(path: Path, state: State) -> None:
    """Write a checkpoint, atomically: the one before it stays until this one is on the disk.

    Raises:
        StorageError: where it cannot be written.
    """
    best = state.best
    content = {
        "version": _VERSION,
        "step": state.step,
        "finished": state.finished,
        "seconds": state.seconds,
        "wall_seconds": state.wall_seconds,
        "peak_memory_mib": state.peak_memory_mib,
        "network": dict(state.network),
        "optimiser": dict(state.optimiser),
        "best": best and {"step": best.step, "score": best.score, "weights": dict(best.weights)},
    }
    buffer = BytesIO()  # writing to a file itself, torch.save hides why that fails
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def read_state(path: Path) -> State | None:
    """Read a checkpoint; None where there is none. Nothing but tensors and plain data is unpickled.

    Raises:
        CheckpointError: where it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at its checksums
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is not what was written")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("version") != _VERSION:
            raise CheckpointError(f"{path} is a checkpoint of another version of regbench; start again with --force.")
        best = content.pop("best")
        return State(best=Best(**best) if best else None, **content)
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read; remove it, or start again with --force."
        ) from error


def copied(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """A copy on the CPU of a state_dict, that later steps do not change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def write_weights(path: Path, weights: Mapping[str, Tensor], step: int) -> None:
    """Write weights as safetensors, atomically.

    Raises:
        StorageError: where it cannot be written.
    """
    # A copy of each, since safetensors refuses tensors that share their memory, and such that are not contiguous.
    whole = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    write_bytes(path, safetensors.torch.save(whole, metadata={"step": str(step)}))


def load_weights(path: Path, network: nn.Module, digest: str | None = None) -> None:
    """Load weights that a run has written into a network of the same configuration.

    Args:
        path: the file.
        network: loaded in place.
        digest: the sha256 that the run's record has; None: whatever it is.

    Raises:
        WeightsError: where the file cannot be read, does not fit, or was changed after its run wrote it.
    """
    try:
        content = path.read_bytes()
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise WeightsError(
                f"The weights {path} were changed after their run wrote them: their sha256 is not that of the record; "
                "restore them, or repeat the run with --force."
            )
        network.load_state_dict(safetensors.torch.load(content))
    except (OSError, SafetensorError) as error:
        reason = "the file is not there" if isinstance(error, FileNotFoundError) else str(error)
        raise WeightsError(
            f"The weights {path} cannot be read: {reason}; restore them, or repeat the run with --force."
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"The weights {path} do not fit the network: {reason}") from error
