"""What every `official_network` shares: options checked by name, and weights mapped key by key."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regbench.errors import BadValueError, UnknownNameError, WeightsError

MOST_LISTED = 20


@dataclass(frozen=True)
class Official:
    """How an official network's options and state_dict keys map onto regbench's own network.

    Attributes:
        name: the official class, as messages call it.
        options: the official options with their official defaults.
        key_of: key of the own network's state_dict → official key.
        unused: patterns (matched in full) of official keys that no output depends on, and of constructor buffers:
            accepted, never needed.
    """

    name: str
    options: Mapping[str, Any]
    key_of: Callable[[str], str]
    unused: tuple[str, ...] = ()

    def read(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their defaults filled in.

        Raises:
            UnknownNameError: for an option that the official network does not have.
        """
        for option in config:
            if option not in self.options:
                raise UnknownNameError(f"option of {self.name}", option, self.options)
        return {**self.options, **config}

    def require_counts(self, name: str, value: object, least: int = 1) -> None:
        """Refuse an option's value that is no list of whole numbers of at least some size.

        Raises:
            BadValueError: which names the option.
        """
        if not (isinstance(value, Sequence) and all(isinstance(n, int) and n >= least for n in value)):
            raise BadValueError(f"{self.name}: {name} holds whole numbers, each at least {least}; got {value!r}.")

    def load(self, network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
        """Copy official weights into the own network.

        Raises:
            WeightsError: lists every missing key, unexpected key and key of another shape.
        """
        wanted = {self.key_of(own): (own, value) for own, value in network.state_dict().items()}
        faults = [
            *_fault("missing", [key for key in wanted if key not in state_dict]),
            *_fault("unexpected", [key for key in state_dict if key not in wanted and not self._is_unused(key)]),
            *_fault("of another shape", [
                f"{key} {tuple(state_dict[key].shape)}, expected {tuple(value.shape)}"
                for key, (_, value) in wanted.items()
                if key in state_dict and state_dict[key].shape != value.shape
            ]),
        ]  # fmt: skip
        if faults:
            raise WeightsError(
                f"These weights do not fit {self.name} as configured: {'; '.join(faults)}. "
                "Check that the file and the options belong together."
            )
        with torch.no_grad():
            for key, (_, value) in wanted.items():
                value.copy_(state_dict[key])

    def _is_unused(self, key: str) -> bool:
        return any(re.fullmatch(pattern, key) for pattern in self.unused)


def _fault(kind: str, keys: Sequence[str]) -> list[str]:
    """One clause that lists the keys; nothing if there are none."""
    if not keys:
        return []
    more = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
    return [f"{len(keys)} {kind}: {', '.join(keys[:MOST_LISTED])}{more}"]
