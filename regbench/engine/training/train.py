"""Train a registration network: what the loop is told of pairs, masks and validation."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from regbench.api import Batch, PairId, Setting, Trainable
from regbench.api.progress import Progress
from regbench.data import Cohort
from regbench.engine.evaluation.evaluate import seen_pair
from regbench.engine.plan import Plan
from regbench.engine.seeds import derive, own_randomness
from regbench.engine.training.checkpoint import State
from regbench.engine.training.course import Course
from regbench.engine.training.loop import fit
from regbench.engine.training.sampler import Sampler
from regbench.errors import RunError
from regbench.metrics.overlap import dsc
from regbench.results import RunFolder
from regbench.spatial import warp_labels


def new_network(method: Trainable, setting: Setting, device: torch.device, seed: int) -> nn.Module:
    """A network for a setting, on a device; the seed gives the same initial weights on every device."""
    with own_randomness(torch.device("cpu")):
        torch.manual_seed(derive(seed, "network"))
        return method.network(setting).to(device)


def train(
    plan: Plan, method: Trainable, network: nn.Module, cohort: Cohort, folder: RunFolder, progress: Progress
) -> State:
    """Train a network on the cohort's training pairs, from the folder's checkpoint if there is one.

    Args:
        plan: the recipe and its surroundings.
        method: whose losses are minimised.
        network: on the cohort's device; trained in place.
        cohort: with masks, if the method is to see any.
        folder: held by the caller.
        progress: who is told.

    Raises:
        RunError: if there is nothing to train on or by.
        DivergedError: for a loss term that is not finite.
        StorageError: where the folder cannot be written.
    """
    recipe, protocol = plan.recipe, plan.protocol
    if recipe is None or not protocol.train_pairs:
        missing = "recipe" if recipe is None else "training pairs"
        raise RunError(f"There are no {missing} to train {plan.method.plugin.name} by on {plan.task_name}.")
    sampler = Sampler.of(recipe, protocol.train_pairs, plan.seed)

    def losses(step: int) -> Mapping[str, Float[Tensor, ""]]:
        draw = sampler.draw(step)
        return method.losses(network, flipped(cohort.batch(draw.pairs, draw.seed), draw.flips))

    def validate() -> float:
        return fmean(mean_dsc(method, network, cohort, pair) for pair in protocol.validation_pairs)

    course = Course(
        weights=recipe.weights,
        optimisation=recipe.optimisation,
        steps=plan.steps,
        budget_seconds=plan.budget_seconds,
        seed=plan.seed,
        device=cohort.device,
        precision=plan.precision,
        validations=validations(plan.steps, len(protocol.validation_pairs)),
        checkpoint_seconds=plan.checkpoint_seconds,
    )
    watched = cohort.labels is not None and len(protocol.validation_pairs) > 0
    return fit(network, losses, course, folder, progress, validate if watched else None)


def validations(steps: int | None, pairs: int) -> int:
    """How often to validate: every twentieth of the training, less often where that would be a sensible part of it.

    To register a pair costs about a third of a training step on it; a twentieth of the training's cost is allowed. The
    number depends on nothing that is measured, so that a resumed training validates at the same steps.

    Args:
        steps: of the training; None for a time budget, which validation is no part of.
        pairs: registered at each validation.

    >>> validations(95_000, 6), validations(200, 4), validations(10, 4), validations(None, 4)
    (20, 7, 1, 10)
    """
    if steps is None:
        return 10
    return max(1, min(20, 3 * steps // (20 * max(1, pairs))))


def flipped(batch: Batch, axes: tuple[int, ...]) -> Batch:
    """A batch turned around along some of the axes 0, 1, 2, scans and masks alike."""
    if not axes:
        return batch
    dims = [axis + 2 for axis in axes]

    def turned(mask: UInt8[Tensor, "b 1 i j k"] | None) -> UInt8[Tensor, "b 1 i j k"] | None:
        return None if mask is None else mask.flip(dims)

    return replace(
        batch,
        fixed=batch.fixed.flip(dims),
        moving=batch.moving.flip(dims),
        fixed_mask=turned(batch.fixed_mask),
        moving_mask=turned(batch.moving_mask),
    )


def mean_dsc(method: Trainable, network: nn.Module, cohort: Cohort, pair: PairId) -> float:
    """The mean Dice over labels of one registered pair, in percent; 0 where no label is in both scans."""
    field = method.predict(network, seen_pair(method, cohort, pair))
    truth = cohort.truth(pair)
    moved = warp_labels(truth.moving_labels.data, field.displacement.float())
    by_label = dsc(truth.fixed_labels.data, moved, truth.labels, moving=truth.moving_labels.data)
    return 100 * fmean(by_label.values()) if by_label else 0.0
