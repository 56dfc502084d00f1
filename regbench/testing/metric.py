"""The contract of a metric."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regbench.api import Case, Field, Grid, Landmarks, Metric, Shape, Truth, Volume
from regbench.engine.evaluation.scoring import contents
from regbench.spatial import jacobian_determinant, warp_labels
from regbench.testing.faults import card_faults, gather, instance_of
from regbench.testing.scenes import SPACING_MM

_SHAPE: Shape = (32, 20, 24)
_LABELS = {1: "box", 2: "bar", 5: "absent"}
_ROUGH_VOXELS = 1.5


def check_metric(metric: str | type[Metric] | Metric) -> list[str]:
    """The faults of a metric, one sentence each.

    Looked at: the card, unit, direction and digits; that values are finite, of labels that the truth has, or of the
    whole case; that nothing is written to; that the same case gives the same values; that a perfect registration scores
    no worse than a rough and shifted one; that labels that are absent from a scan, and pairs without landmarks, do no
    harm.

    Args:
        metric: its class, an instance, or its name in the registry.

    Raises:
        RequestError: if it cannot be set up here.
    """
    one: Metric = instance_of("metric", metric)
    return gather(
        one,
        [("its card was read", partial(card_faults, one)), ("its unit was read", partial(_form, one))],
        [
            ("it measured a case", partial(_one_case, one)),
            ("it measured a perfect and a poor registration", partial(_direction, one)),
            ("it measured a case whose labels are all absent from one scan", partial(_empty, one)),
        ],
    )


def _form(metric: Metric) -> Iterator[str]:
    if not isinstance(getattr(metric, "unit", None), str):
        yield "It has no `unit`; expected '%', 'mm', 'voxel', or '' for a pure number."
    if not isinstance(getattr(metric, "higher_is_better", None), bool):
        yield "It does not say whether `higher_is_better`; expected True or False."
    if not (isinstance(metric.digits, int) and metric.digits >= 0):
        yield f"`digits` is {metric.digits!r}; expected the number of decimals in a table."


def _one_case(metric: Metric) -> Iterator[str]:
    case = _case(_rough_field())
    before = [bits.clone() for bits in contents(case)]
    values = metric.measure(case)
    yield from _value_faults(values)
    if any(not torch.equal(a, b) for a, b in zip(before, contents(case), strict=True)):
        yield "It wrote to the case that it was given; a metric is a pure function."
    if dict(values) != dict(metric.measure(_case(_rough_field()))):
        yield "The same case measured twice gives two results."
    yield from _value_faults(metric.measure(_case(_rough_field(), landmarks=False)))


def _value_faults(values: Any) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"`measure` gave a {type(values).__name__}; expected a mapping from label (or None) to number."
        return
    for label, value in values.items():
        if label is not None and label not in _LABELS:
            yield f"It scored the label {label!r}, which the truth does not have."
        if label == max(_LABELS):
            yield "It scored a label that is absent from both scans; such a label is left out."
        if not (isinstance(value, float) and math.isfinite(value)):
            what = "the case" if label is None else f"label {label}"
            yield f"Its value for {what} is {value!r}; expected a finite float."
    if None in values and len(values) > 1:
        yield "It gives a value of the whole case beside values of labels; those are two metrics."


def _direction(metric: Metric) -> Iterator[str]:
    still = torch.zeros(3, *_SHAPE)
    perfect, poor = (metric.measure(_case(u, moved=moved)) for u, moved in ((still, False), (_rough_field(), True)))
    for label in perfect.keys() & poor.keys():
        gain = perfect[label] - poor[label]
        if gain and (gain > 0) != metric.higher_is_better:
            said = "higher" if metric.higher_is_better else "lower"
            yield (
                f"It says that {said} is better, but a perfect registration scores {perfect[label]:.4g} "
                f"and a poor one {poor[label]:.4g}."
            )
            return


def _empty(metric: Metric) -> Iterator[str]:
    values = metric.measure(_case(_rough_field(), absent=True))
    if any(label is not None and label in _LABELS for label in values):
        yield "It scored a label that is absent from the fixed scan; such a label is left out."


def _case(u: Float[Tensor, "3 i j k"], *, moved: bool = True, landmarks: bool = True, absent: bool = False) -> Case:
    """Boxes that lie elsewhere in the moving scan, if it moved; with a field that may be anything."""
    grid = Grid.centred(_SHAPE, SPACING_MM)
    fixed = torch.zeros(_SHAPE, dtype=torch.uint8) if absent else _boxes(0)
    moving = _boxes(3 if moved else 0)
    places = torch.tensor([[8.0, 6.0, 7.0], [12.0, 9.0, 15.0], [20.0, 12.0, 10.0]])
    there = places + torch.tensor([3.0, 0.0, 0.0]) * moved
    truth = Truth(
        labels=_LABELS,
        fixed_labels=Volume(fixed, grid),
        moving_labels=Volume(moving, grid),
        landmarks=Landmarks(places, there) if landmarks else None,
    )
    return Case(
        field=Field(u, grid),
        truth=truth,
        moved_labels=Volume(warp_labels(moving, u), grid),
        determinant=jacobian_determinant(u),
        reverse=Field(-u, grid),
    )


def _boxes(shift: int) -> UInt8[Tensor, "i j k"]:
    labels = torch.zeros(_SHAPE, dtype=torch.uint8)
    labels[6 + shift : 16 + shift, 4:12, 5:15] = 1
    labels[18 + shift : 24 + shift, 8:14, 8:18] = 2
    return labels


def _rough_field() -> Float[Tensor, "3 i j k"]:
    """Random at every voxel, so that it folds."""
    return _ROUGH_VOXELS * torch.randn((3, *_SHAPE), generator=torch.Generator().manual_seed(0))
