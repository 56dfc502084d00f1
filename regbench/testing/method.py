"""The contract of a method."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.api import Field, Method, Pair, Shape, Trainable, Volume
from regbench.api.grid import times
from regbench.losses import mse
from regbench.spatial import warp
from regbench.testing import scenes
from regbench.testing.answers import direction_faults, field_faults
from regbench.testing.faults import Check, card_faults, gather, instance_of
from regbench.testing.trainable import Subject, first_checks, trainable_checks

_ODD_SHAPES: tuple[Shape, ...] = ((19, 23, 13), (33, 16, 5))
_SHIFT = 2.0
# By which share two fields may differ that are called the same, and how much worse than nothing a field has to be.
_SAME = 0.02
_WORSE = 1.01

Register = Callable[[Pair], Field]


def check_method(method: str | type[Method] | Method) -> list[str]:
    """The faults of a method, one sentence each.

    Looked at: the card and the fields; shape, type and finiteness of the field; that the scans are not written to; that
    the same pair gives the same field, whatever was registered before; that the field depends on both scans, but on
    masks only where the method says so, and is in voxels; that any size works; sign and axes, by a known shift on a
    grid with three different sizes and spacings. For a trainable method also: a start near the identity (and at it,
    where all weights are zero), finite and differentiable losses that all have a weight, the direction in which they
    pull, autocast, and that weights come back as they were saved. A method that cannot register a pair, or has
    nothing to learn by, is told that alone.

    Args:
        method: its class, an instance, or its name in the registry.

    Raises:
        RequestError: if it cannot be set up here, e.g. because a program or a file that it needs is missing.
    """
    one: Method = instance_of("method", method)
    subject = Subject(one) if isinstance(one, Trainable) else None
    register: Register = subject.register if subject else one.register
    stages: list[list[Check]] = [
        [("its card was read", partial(card_faults, one)), ("`masks` was read", partial(_mask_use, one))],
        *(([check] for check in first_checks(subject)) if subject else []),
        [("it registered a pair", partial(_one_pair, one, register))],
        _further_checks(one, subject, register),
    ]
    return gather(one, *stages)


def _further_checks(one: Method, subject: Subject | None, register: Register) -> list[Check]:
    """What is looked at where the method registers a pair at all: else it would only be said again."""
    checks: list[Check] = [
        ("it registered one pair after another", partial(_order, one, register)),
        ("it registered a pair with another fixed or moving scan", partial(_scans, one, register)),
        ("it registered a pair of larger voxels", partial(_units, one, register)),
    ]
    if one.masks != "always":
        checks.append(("it registered a pair with masks", partial(_masks_at_test, one, register)))
    for shape in _ODD_SHAPES:
        said = f"it registered a pair of {times(shape)} voxels"
        checks.append((said, partial(_any_size, one, register, shape)))
    return checks + (trainable_checks(subject) if subject else [("it registered a shifted ball", partial(_sign, one))])


def _mask_use(method: Method) -> Iterator[str]:
    if method.masks not in ("never", "training", "always"):
        yield f"`masks` is {method.masks!r}; expected 'never', 'training' or 'always'."
    elif method.masks == "training" and not isinstance(method, Trainable):
        yield "`masks` is 'training', but nothing is trained: the method is not Trainable."


def _pair(method: Method, shape: Shape, seed: int = 0) -> Pair:
    return scenes.unlike(shape, masks=method.masks == "always", seed=seed)


def _one_pair(method: Method, register: Register) -> Iterator[str]:
    pair = _pair(method, scenes.SHAPE)
    before = [volume.data.clone() for volume in _volumes(pair)]
    said = method.skip(pair)
    if said is not None:
        register(pair)  # a wrong request, where a program is missing here, is no fault of the method
        yield f"It skips an ordinary pair of {times(scenes.SHAPE)} voxels: {said}"
        return
    field = register(pair)
    faults = list(field_faults(field, pair))
    yield from faults
    if any(not torch.equal(a, volume.data) for a, volume in zip(before, _volumes(pair), strict=True)):
        yield "It wrote to the scans or masks that it was given; work on a copy."
    if not faults and not torch.equal(field.displacement, register(pair).displacement):
        yield "The same pair registered twice gives two fields; seed what is random."


def _order(method: Method, register: Register) -> Iterator[str]:
    first, second = _pair(method, scenes.SHAPE, 1), _pair(method, scenes.SHAPE, 2)
    one: Any = method
    alone = register(second) if isinstance(method, Trainable) else replace(one).register(second)
    before = alone.displacement.clone()
    register(first)
    if not torch.equal(before, register(second).displacement):
        yield "A pair's field depends on what was registered before it; keep nothing from pair to pair."


def _scans(method: Method, register: Register) -> Iterator[str]:
    """A method that moves anything looks at both scans, or at what masks say of them."""
    pair, other = _pair(method, scenes.SHAPE), _pair(method, scenes.SHAPE, 1)
    field = register(pair).displacement
    if not field.any():
        return
    for role, changed in (
        ("fixed", replace(pair, fixed=other.fixed, fixed_mask=other.fixed_mask)),
        ("moving", replace(pair, moving=other.moving, moving_mask=other.moving_mask)),
    ):
        if torch.equal(field, register(changed).displacement):
            yield (
                f"Another {role} scan gives the same field; look at both scans, and keep nothing from the pair before, "
                "such as features by shape."
            )


def _units(method: Method, register: Register) -> Iterator[str]:
    """The same scans with voxels of twice the size: millimetres double, voxels do not."""
    pair = _pair(method, scenes.SHAPE)
    near, far = (register(p).displacement.double().flatten() for p in (pair, scenes.enlarged(pair, 2.0)))
    for factor in (2.0, 0.5):
        if near.any() and float((far - factor * near).norm()) < _SAME * float(far.norm()):
            yield (
                f"Voxels of twice the size make the field {factor:g} times as large; a displacement is in voxels, not "
                "in millimetres: divide component c by the spacing along axis c, once."
            )


def _masks_at_test(method: Method, register: Register) -> Iterator[str]:
    pair = scenes.unlike(scenes.SHAPE, masks=True)
    if not torch.equal(register(pair).displacement, register(pair.without_masks()).displacement):
        yield (
            f"The field depends on the pair's masks, but `masks` is {method.masks!r}; write masks = 'always', or do "
            "not look at them at test."
        )


def _any_size(method: Method, register: Register, shape: Shape) -> Iterator[str]:
    pair = _pair(method, shape)
    if method.skip(pair) is None:
        yield from field_faults(register(pair), pair)


def _sign(method: Method) -> Iterator[str]:
    """A method that moves anything moves a ball the right way along the right axis."""
    for axis in range(3):
        scene = scenes.ball(scenes.SHAPE, scenes.along(axis, _SHIFT), masks=method.masks == "always")
        field = method.register(scene)
        faults = list(direction_faults(_mean_on_ball(field, scene), axis, "The field"))
        yield from faults or _harm(field, scene, axis)


def _harm(field: Field, pair: Pair, axis: int) -> Iterator[str]:
    fixed, moving = pair.fixed.data[None, None], pair.moving.data[None, None]
    before, after = mse(fixed, moving), mse(fixed, warp(moving, field.displacement[None].float()))
    if after > _WORSE * before:
        by = float(_mean_on_ball(field, pair)[axis])
        yield (
            f"Moved along axis {axis} by {by:.2g} voxels, a ball that was {_SHIFT:g} off lies worse than before; "
            "a displacement is in voxels of the fixed grid."
        )


def _mean_on_ball(field: Field, pair: Pair) -> Float[Tensor, " 3"]:
    """The mean displacement where there is something to see."""
    weight = pair.fixed.data / pair.fixed.data.sum()
    return (field.displacement * weight).sum((1, 2, 3))


def _volumes(pair: Pair) -> list[Volume]:
    return [volume for volume in (pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask) if volume is not None]
