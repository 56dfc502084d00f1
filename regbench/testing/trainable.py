"""The contract of a trainable method: its network, its losses, its recipe."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor, nn

from regbench.api import Batch, Field, Pair, Preset, Setting, Trainable
from regbench.engine.plan import recipe_of
from regbench.engine.training.terms import term_faults
from regbench.errors import PluginError
from regbench.testing import scenes
from regbench.testing.answers import direction_faults
from regbench.testing.faults import Check

_NEARLY_NOTHING = 0.1
_NOTHING = 1e-5
# By which share of its largest value a field may differ between one pair and a batch.
_ROUNDING = 0.02
_STEP = 1e-3
_SHIFT = 1.0
_PRESETS: tuple[Preset, ...] = ("quick", "paper")


class Subject:
    """A trainable method with networks that have made one step, so that their fields are not all zero."""

    def __init__(self, method: Trainable) -> None:
        """Networks are made when they are first needed, and kept."""
        self.method = method
        self._networks: dict[Setting, nn.Module] = {}

    def made(self, setting: Setting, seed: int = 0) -> Any:
        """What the method gives for a new network; the caller's random numbers are left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.method.network(setting)

    def fresh(self, setting: Setting, seed: int = 0) -> nn.Module:
        """A new network in evaluation mode."""
        network: nn.Module = self.made(setting, seed).eval()
        return network

    def stirred(self, pair: Pair) -> nn.Module:
        """The network of a pair's setting, after one step on it."""
        if pair.setting not in self._networks:
            network = self.fresh(pair.setting)
            move(network, self.gradient(network, pair.batch()))
            self._networks[pair.setting] = network
        return self._networks[pair.setting]

    def register(self, pair: Pair) -> Field:
        """The field of a network that has made one step."""
        return self.method.predict(self.stirred(pair), pair)

    def total(self, network: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """The weighted loss."""
        weights = self.method.training("quick").weights
        terms = self.method.losses(network, batch)
        return torch.stack([weights[name] * value.float() for name, value in terms.items() if name in weights]).sum()

    def gradient(self, network: nn.Module, batch: Batch) -> list[Tensor | None]:
        """The gradient of the weighted loss by every parameter; None for one that it does not depend on."""
        parameters, total = [p for p in network.parameters() if p.requires_grad], self.total(network, batch)
        if not total.requires_grad:
            return [None] * len(parameters)
        return list(torch.autograd.grad(total, parameters, allow_unused=True))

    def pair(self, masks: bool | None = None, seed: int = 0) -> Pair:
        """An ordinary pair, with masks if the method cannot do without, or as asked for."""
        return scenes.unlike(scenes.SHAPE, masks=self.method.masks == "always" if masks is None else masks, seed=seed)


def move(network: nn.Module, gradient: list[Tensor | None], step: float = _STEP) -> None:
    """One step down the gradient; no parameter moves by more than `step`."""
    largest = max((float(g.abs().max()) for g in gradient if g is not None), default=0.0)
    if largest == 0:
        return
    with torch.no_grad():
        for parameter, g in zip((p for p in network.parameters() if p.requires_grad), gradient, strict=True):
            if g is not None:
                parameter.sub_(g, alpha=step / largest)


def first_checks(subject: Subject) -> list[Check]:
    """What nothing works without, each of which needs those before it."""
    return [
        ("its network was made", partial(_network, subject)),
        ("its losses were computed", partial(_losses, subject)),
    ]


def trainable_checks(subject: Subject) -> list[Check]:
    """What is looked at beyond what every method is, where `first_checks` find nothing."""
    checks: list[Check] = [("its losses were computed with masks and without", partial(_mask_use, subject))]
    return [
        ("a new network registered a pair", partial(_start, subject)),
        *(checks if subject.method.masks != "always" else []),
        ("its losses were computed for a batch of two", partial(_batch_of_two, subject)),
        ("its losses were computed under autocast", partial(_autocast, subject)),
        ("it was trained on a shifted scan", partial(_direction, subject)),
        ("its weights were saved and loaded", partial(_weights, subject)),
    ]


def _recipe_faults(subject: Subject, terms: Iterable[str]) -> Iterator[str]:
    for preset in _PRESETS:
        try:
            recipe = recipe_of(subject.method, preset)
        except PluginError as error:
            yield str(error)
            continue
        if recipe.steps is not None and recipe.steps < 1:
            yield f"The recipe of the preset {preset} has {recipe.steps} steps."
        for name in terms:
            if name not in recipe.weights:
                yield f"The loss term '{name}' has no weight in the recipe of the preset {preset}."


def _start(subject: Subject) -> Iterator[str]:
    pair = subject.pair()
    # Masks of both scans may say at once how far the organs have gone; equal ones say that they stayed.
    pair = replace(pair, moving_mask=pair.fixed_mask)
    largest = float(subject.method.predict(subject.fresh(pair.setting), pair).displacement.abs().max())
    if not largest <= _NEARLY_NOTHING:
        yield (
            f"A new network moves by up to {largest:.2g} voxels; it has to start near the identity "
            f"(at most {_NEARLY_NOTHING}): give its last layer small weights."
        )
    network = subject.fresh(pair.setting)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    nothing = float(subject.method.predict(network, pair).displacement.abs().max())
    if not nothing <= _NOTHING:
        yield f"With all weights zero it moves by {nothing:.2g} voxels, not by 0; add nothing to what its layers give."


def _network(subject: Subject) -> Iterator[str]:
    made = subject.made(subject.pair().setting)
    if not isinstance(made, nn.Module):
        yield f"`network` gave a {type(made).__name__}; expected a torch.nn.Module."
    elif not any(p.requires_grad for p in made.parameters()):
        yield "The network has no parameters to train; what is not trained is a Method, and no Trainable."


def _losses(subject: Subject) -> Iterator[str]:
    with_masks = {"never": [False], "training": [False, True], "always": [True]}[subject.method.masks]
    for masks in with_masks:
        batch = subject.pair(masks).batch()
        kept = [volume.clone() for volume in _volumes(batch)]
        network = subject.fresh(batch.setting)
        terms = subject.method.losses(network, batch)
        faults = list(_term_faults(terms)) or list(_recipe_faults(subject, terms))
        yield from faults or _gradient_faults(network, subject.gradient(network, batch))
        if any(not torch.equal(*both) for both in zip(kept, _volumes(batch), strict=True)):
            yield "The losses wrote to the batch; work on a copy."


def _mask_use(subject: Subject) -> Iterator[str]:
    """Masks change the losses of a method that says so, and of no other."""
    batch = subject.pair(masks=True).batch()
    network = subject.fresh(batch.setting)
    bare = replace(batch, fixed_mask=None, moving_mask=None)
    with torch.no_grad():
        seen, unseen = (subject.method.losses(network, one) for one in (batch, bare))
    alike = seen.keys() == unseen.keys() and all(torch.equal(value, unseen[name]) for name, value in seen.items())
    if subject.method.masks == "never" and not alike:
        yield "Its losses depend on masks, but `masks` is 'never'; write masks = 'training', or do not look at them."
    if subject.method.masks == "training" and alike:
        yield "Its `masks` is 'training', but no loss term depends on them; write masks = 'never', or add such a term."


def _volumes(batch: Batch) -> list[Tensor]:
    return [v for v in (batch.fixed, batch.moving, batch.fixed_mask, batch.moving_mask) if v is not None]


def _term_faults(terms: Any) -> Iterator[str]:
    faults = list(term_faults(terms))
    yield from faults or (
        f"The loss term '{name}' is {value.item()}; expected a finite number: keep divisors away from zero."
        for name, value in terms.items()
        if not torch.isfinite(value)
    )


def _gradient_faults(network: nn.Module, gradient: list[Tensor | None]) -> Iterator[str]:
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    found = {name: g for name, g in zip(names, gradient, strict=True) if g is not None}
    if not any(bool(g.any()) for g in found.values()):
        yield "The losses have no gradient by any parameter: nothing would be learnt."
    wild = [name for name, g in found.items() if not torch.isfinite(g).all()]
    if wild:
        yield f"The gradient of the losses is not finite everywhere, such as by '{wild[-1]}'."


def _batch_of_two(subject: Subject) -> Iterator[str]:
    one, other = subject.pair(seed=1).batch(), subject.pair(seed=2).batch()
    both = Batch(
        fixed=torch.cat([one.fixed, other.fixed]),
        moving=torch.cat([one.moving, other.moving]),
        fixed_mask=_joined(one.fixed_mask, other.fixed_mask),
        moving_mask=_joined(one.moving_mask, other.moving_mask),
        setting=one.setting,
    )
    network = subject.stirred(subject.pair())
    yield from _term_faults(subject.method.losses(network, both))
    with torch.no_grad():
        alone, together = subject.method.displacement(network, one), subject.method.displacement(network, both)
    if together.shape[0] != 2 or not torch.allclose(together[:1], alone, atol=_ROUNDING * float(alone.abs().max())):
        yield "In a batch of two, the field of a pair depends on the other pair; take no mean over the batch."


def _joined(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else torch.cat([one, other])


def _autocast(subject: Subject) -> Iterator[str]:
    faults = _autocast_faults(subject)
    if faults:
        with _plain_kernels():
            faults = _autocast_faults(subject)
    yield from (
        f"Under autocast to bfloat16: {fault} Compute the culprit under torch.autocast(device.type, enabled=False)."
        for fault in faults
    )


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without oneDNN, whose kernels for bfloat16 are each processor's own: what they alone do is no method's fault."""
    ignored = warnings.catch_warnings(action="ignore")  # on settings for processors that are not here
    with ignored, torch.backends.mkldnn.flags(enabled=False):
        yield


def _autocast_faults(subject: Subject) -> list[str]:
    batch = subject.pair().batch()
    network = subject.stirred(subject.pair())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = subject.method.losses(network, batch)
        gradient = subject.gradient(network, batch)
        field = subject.method.displacement(network, batch)
    faults = [*_term_faults(terms), *_gradient_faults(network, gradient)]
    if not torch.isfinite(field).all():
        faults.append("The field is not finite everywhere.")
    return faults


def _direction(subject: Subject) -> Iterator[str]:
    """One step of training on a shifted scan moves the field the right way along the right axis."""
    masks = subject.method.masks == "always"
    for axis in range(3):
        pair = scenes.waves(scenes.SHAPE, scenes.along(axis, _SHIFT), masks=masks)
        network = subject.fresh(pair.setting)
        before = subject.method.predict(network, pair).displacement
        move(network, subject.gradient(network, pair.batch()))
        after = subject.method.predict(network, pair).displacement
        yield from direction_faults((after - before).mean((1, 2, 3)), axis, "A step of training")


def _weights(subject: Subject) -> Iterator[str]:
    pair = subject.pair()
    network = subject.stirred(pair)
    stored = load(save({name: value.contiguous() for name, value in network.state_dict().items()}))

    def differs(shown: Pair) -> bool:
        """Whether a network that has the weights but has seen nothing gives another field."""
        other = subject.fresh(pair.setting, seed=1)
        other.load_state_dict(stored)
        one, two = (subject.method.predict(n, shown).displacement for n in (network, other))
        return not torch.equal(one, two)

    if differs(pair):
        yield "A network with saved weights gives another field; all that is learnt belongs in its state_dict."
    elif differs(subject.pair(seed=3)):
        yield "A network's field depends on the pairs that it saw before; keep nothing from pair to pair."
