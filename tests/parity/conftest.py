"""Probes of the official networks: inputs by formula, weights by recipe, outputs at a few thousand voxels.

Nothing in a probe file is an image or a weight: both are made here from the numbers that the file states.
"""

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "probes"


class Probe:
    """One probe file.

    Attributes:
        meta: what the file says of itself.
        config: the official options.
    """

    def __init__(self, name: str) -> None:
        with np.load(FOLDER / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file.files if key != "meta"}
            self.meta: dict[str, Any] = json.loads(str(file["meta"]))
        self.config: dict[str, Any] = self.meta["config"]

    def inputs(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Every input by name, (1, c, i, j, k), checked against the file's own summary."""
        volumes = {name: _wave_volume(spec, self.meta["shape"]) for name, spec in self.meta["inputs"].items()}
        for name, volume in volumes.items():
            check = self.meta["input_check"][name]
            flat = volume.astype(np.float64).ravel()
            measured = [flat.mean(), flat.std(), flat.min(), flat.max(), flat[0], flat[flat.size // 2], flat[-1]]
            stated = [check[key] for key in ("mean", "std", "min", "max", "first", "middle", "last")]
            np.testing.assert_allclose(measured, stated, rtol=1e-7, atol=1e-8, err_msg=name)
        return {
            name: torch.from_numpy(volume.reshape(check_shape(volume))).to(dtype) for name, volume in volumes.items()
        }

    def state_dict(self, *, buffers: bool = False, unused: bool = True) -> dict[str, Tensor]:
        """The official state_dict by the recipe: float32 parameters; buffers, if wanted, as zeros of their shape.

        Args:
            buffers: with the buffers that the official constructor makes.
            unused: with the parameters that no output depends on.
        """
        names, dead = set(self.meta["buffers"]), set(self.meta["unused_parameters"])
        state = {
            key: torch.zeros(shape) if key in names else torch.from_numpy(_parameter(key, shape, self.meta["weights"]))
            for key, shape in self.meta["keys"].items()
            if (buffers or key not in names) and (unused or key not in dead)
        }
        if unused:
            self._check_weights({key: value for key, value in state.items() if key not in names})
        return state

    def error(self, name: str, whole: Tensor) -> float:
        """The greatest difference between an output (1, c, i, j, k) and the official one at the probes."""
        i, j, k = self.arrays["probe_index"].astype(np.int64).T
        ours = whole.detach()[0, :, i, j, k].T.double().numpy()
        official = self.arrays[name]
        assert ours.size == official.size, f"{name}: {ours.shape} for {official.shape}"
        return float(np.abs(ours.reshape(official.shape) - official).max())

    def intermediate_error(self, name: str, whole: Tensor) -> float:
        """The greatest difference between an intermediate (1, c, i, j, k) and the official one (float32 run)."""
        c, i, j, k = self.arrays[f"x_{name}_index"].astype(np.int64).T
        assert list(whole.shape) == self.meta["intermediate"][name]["shape"]
        return float(np.abs(whole.detach()[0, c, i, j, k].double().numpy() - self.arrays[f"x_{name}"]).max())

    def _check_weights(self, parameters: dict[str, Tensor]) -> None:
        stated = self.meta["weights"]
        assert sum(value.numel() for value in parameters.values()) == stated["n_parameters"]
        total = sum(float(value.sum(dtype=torch.float64)) for value in parameters.values())
        total_abs = sum(float(value.abs().sum(dtype=torch.float64)) for value in parameters.values())
        np.testing.assert_allclose([total, total_abs], [stated["sum"], stated["sum_abs"]], rtol=2e-6)
        for key, first in stated["first_values"].items():
            count = len(first)
            np.testing.assert_allclose(parameters[key].ravel()[:count].numpy(), first, rtol=1e-8)


def check_shape(volume: np.ndarray) -> tuple[int, ...]:
    """A volume (i, j, k) or (c, i, j, k) with its batch axis, and a channel axis if it has none."""
    return (1, 1, *volume.shape) if volume.ndim == 3 else (1, *volume.shape)


def _wave_volume(spec: dict[str, Any], shape: list[int]) -> np.ndarray:
    """An input by its formula, float32."""
    if "shape" in spec or "lead" in spec:
        shape = spec.get("shape") or [*spec["lead"], *shape]
    axes = np.meshgrid(*[np.arange(n, dtype=np.float64) for n in shape], indexing="ij", sparse=True)
    value = np.zeros(shape)
    for weight, factors in spec["terms"]:
        product = np.full(shape, float(weight))
        for *slopes, phase in factors:
            angle = sum(slope * axis for slope, axis in zip(slopes, axes, strict=True)) + phase
            product *= np.sin(angle)
        value += product
    if spec["kind"] == "labels":
        return (value[..., None] > np.asarray(spec["thresholds"])).sum(-1).astype(np.float32)
    if spec["kind"] == "image":
        return (0.5 + 0.5 * value).astype(np.float32)
    return (spec["scale"] * value).astype(np.float32)


def _parameter(key: str, shape: list[int], weights: dict[str, Any]) -> np.ndarray:
    """A parameter by the recipe, from its official key and shape."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if key.startswith(tuple(weights["head_prefixes"])):
        return noise * np.float32(weights["head_std"] if len(shape) > 1 else 0.1)
    if key.endswith("relative_position_bias_table"):
        return noise * np.float32(0.5)
    if len(shape) == 1:
        return np.float32(key.endswith("weight")) + np.float32(0.1) * noise
    # The files' own rounding: times the inverse in float32, a different last bit than divided by the root.
    return noise * np.float32(1 / math.sqrt(math.prod(shape[1:])))


@pytest.fixture(scope="session")
def probe() -> Callable[[str], Probe]:
    """`probe(name)` reads the probe file of that name."""
    return Probe
