"""Weights files: safetensors, or torch files that hold tensors and plain data only."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from regbench.errors import WeightsError
from regbench_baselines.official import Official

# Where the published checkpoints keep the state_dict: TransMorph, VoxelMorph, and common habit.
WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")
# Published checkpoints keep their best score as a numpy number, pickled under the module's old or new name.
NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state_dict of a weights file; what stands beside it in a checkpoint (epoch, optimiser) is dropped.

    Args:
        file: `.safetensors`, or anything that `torch.save` wrote and that needs no Python object of anybody's.

    Raises:
        WeightsError: for a file that is not there, is no weights file, or is a pickled model.
    """
    if not file.is_file():
        raise WeightsError(f"There is no weights file {file}; expected a .safetensors or .pt file.")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    state = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), content)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"{file} holds no state_dict: expected a mapping from names to tensors, found the keys "
            f"{', '.join(map(str, list(content)[:8])) or '(none)'}."
        )
    return _without_wrapper(state)


def load_weights(network: nn.Module, file: Path, official: Official) -> bool:
    """Load a file into a network: regbench's own weights, or those of the official code.

    Returns:
        Whether they are the official code's.

    Raises:
        WeightsError: if the file cannot be read or does not fit; it lists what is missing, unexpected or misshapen.
    """
    state = read_weights(file)
    own = set(network.state_dict())
    from_regbench = len(own & set(state)) >= len({official.key_of(key) for key in own} & set(state))
    names = Official(f"regbench's own {official.name}", {}, lambda key: key) if from_regbench else official
    names.load(network, state)
    return not from_regbench


def _read_safetensors(file: Path) -> Mapping[str, Any]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise WeightsError(f"{file} is no safetensors file: {error}; it may be truncated, copy it again.") from error


def _read_torch(file: Path) -> Mapping[str, Any]:
    try:
        with torch.serialization.safe_globals(NUMBERS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise WeightsError(_whole_model(file)) from error
        raise WeightsError(f"{file} is no weights file of torch: {str(error).splitlines()[0]}") from error
    except (RuntimeError, EOFError, ValueError, LookupError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise WeightsError(f"{file} is no weights file of torch, or it is truncated: {said[0]}") from error
    if isinstance(content, Mapping):
        return content
    raise WeightsError(f"{file} holds a {type(content).__name__}; expected a state_dict or a checkpoint that has one.")


def _whole_model(file: Path) -> str:
    return (
        f"{file} is a pickled Python object (a whole model), and reading it would run the code inside; expected "
        'tensors only. If you trust it, convert it once where the original code is installed: python -c "import torch; '
        f"model = torch.load('{file.name}', map_location='cpu', weights_only=False); "
        f"torch.save(model.state_dict(), '{file.stem}_state.pt')\", then give the new file."
    )


def _without_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys without the `module.` that parallel training puts before each."""
    wrapped = all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in state.items()}
