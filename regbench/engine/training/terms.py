"""Loss terms on their way from the device to the history, without making the device wait at every step."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.errors import DivergedError, RunError

TOTAL = "total"
GRADIENT = "gradient"


@dataclass(frozen=True, slots=True)
class StepTerms:
    """The terms of one step, read from the device.

    Attributes:
        step: its number, from 1.
        values: term → value, "total" (the weighted sum) among them.
    """

    step: int
    values: Mapping[str, float]


def term_faults(terms: object) -> Iterator[str]:
    """What keeps something that a method gave from being loss terms."""
    if not isinstance(terms, Mapping):
        yield f"`losses` gave a {type(terms).__name__}; expected a mapping from each term's name to its value."
        return
    if not terms:
        yield "`losses` gave no loss term; expected at least one."
    for name, value in terms.items():
        if not isinstance(value, Tensor):
            yield f"The loss term '{name}' is no scalar tensor: it is a {type(value).__name__}."
        elif value.shape != ():
            yield f"The loss term '{name}' is no scalar tensor: its shape is {tuple(value.shape)}."


def checked_terms(terms: Any) -> Mapping[str, Float[Tensor, ""]]:
    """The terms that a method gave.

    Raises:
        RunError: with the first of `term_faults`.
    """
    for fault in term_faults(terms):
        raise RunError(fault)
    found: Mapping[str, Float[Tensor, ""]] = terms
    return found


def weighted_sum(terms: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The total loss, in float32.

    Raises:
        RunError: for a term without a weight.
    """
    for name in terms:
        if name not in weights:
            raise RunError(
                f"The loss term '{name}' has no weight in the recipe, which knows {', '.join(weights) or 'none'}; "
                f"name it there, or set it with --set recipe.weights.{name}=1."
            )
    return torch.stack([weights[name] * value.float() for name, value in terms.items()]).sum()


class TermBuffer:
    """Keeps the terms of some steps on the device, and looks at all of them at once."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, tuple[str, ...]]] = []
        self._values: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(
        self, step: int, terms: Mapping[str, Float[Tensor, ""]], total: Float[Tensor, ""], gradient: Float[Tensor, ""]
    ) -> None:
        """Take in one step.

        Args:
            step: its number, from 1.
            terms: name → value, not weighted.
            total: the weighted sum.
            gradient: the norm of the gradient of all parameters.
        """
        self._steps.append((step, (*terms, TOTAL, GRADIENT)))
        values = [value.detach().float() for value in (*terms.values(), total, gradient)]
        self._values.append(torch.stack(values))

    def read(self) -> Iterator[StepTerms]:
        """The steps since the last reading, which are forgotten; one transfer from the device.

        Raises:
            DivergedError: for the first term of the first step that is not finite.
        """
        steps, flat = self._steps, iter(torch.cat(self._values).tolist() if self._values else ())
        self._steps, self._values = [], []
        for step, names in steps:
            values = {name: next(flat) for name in names}
            for name, value in values.items():
                if not math.isfinite(value):
                    raise DivergedError(step, name, value)
            yield StepTerms(step, values)


def gradient_norm(parameters: Sequence[torch.nn.Parameter]) -> Float[Tensor, ""]:
    """The Euclidean norm of the gradient over all parameters that have one."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise RunError("No parameter of the network got a gradient; the loss terms do not depend on the network.")
    norms: Sequence[Tensor] = torch._foreach_norm(gradients)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([part.float() for part in norms]))
    return norm
