"""What is wrong with a scan only beside the others."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regbench.api import Protocol, patient_of
from regbench.data.checks.examine import Examined
from regbench.data.checks.placement import Placement

_SCANS = 5  # fewer have no common order to speak of
_ORDERED = 0.8  # share of the scans in which two structures have to lie in the same order for it to be a rule
_RULES = 5  # that many rules along an axis have to apply to a scan before it is judged by them
_AXES = ("left to right", "back to front", "foot to head")


def twins(examined: Sequence[Examined], protocol: Protocol) -> list[str]:
    """Files of one content under two ids; across training and test, that is a leak."""
    groups = defaultdict(list)
    for one in examined:
        for path, digest in one.contents.items():
            groups[digest].append((one.scan.id, path))
    faults = []
    for (first, original), *copies in groups.values():
        for other, path in copies:
            if path == original:  # one file is named for both, which the layout's fault says
                continue
            leak = ": the same case would be in both train and test" if _apart(first, other, protocol) else ""
            faults.append(f"{path} has the same content as {original}{leak}; restore the one that is a copy.")
    return faults


def _apart(first: str, other: str, protocol: Protocol) -> bool:
    """Whether two scans stand on different sides of a protocol."""
    return {first, other} <= {*protocol.train, *protocol.test} and (first in protocol.test) != (other in protocol.test)


def strays(examined: Sequence[Examined], protocol: Protocol) -> list[str]:
    """Scans that do not lie on the grid of those that they are registered with.

    Frames of one patient share a grid. Scans of different patients that are registered with each other share its shape,
    spacing and directions where more than half of them do: they were aligned beforehand, voxel by voxel.
    """
    placed = {one.scan.id: one for one in examined if one.placement is not None}
    pairs = {(min(pair), max(pair)) for pair in protocol.train_pairs + protocol.test_pairs}
    within = sorted(pair for pair in pairs if patient_of(pair[0]) == patient_of(pair[1]) and {*pair} <= placed.keys())
    faults = []
    for first, second in within:
        whose = f"{placed[first].scan.image.name}, its patient's"
        faults += _stray(placed[second], placed[first].placement, whose, anywhere=False)
    across = {scan for pair in pairs if patient_of(pair[0]) != patient_of(pair[1]) for scan in pair} & placed.keys()
    aligned = [one for scan, one in placed.items() if scan in across]
    common = _common_placement([one.placement for one in aligned if one.placement is not None])
    for one in aligned:
        faults += _stray(one, common, "most other scans, which share one grid", anywhere=True)
    return faults


def _stray(one: Examined, expected: Placement | None, whose: str, *, anywhere: bool) -> list[str]:
    if one.placement is None or expected is None:
        return []
    difference = one.placement.difference(expected, anywhere=anywhere)
    return [f"{one.scan.image} disagrees with {whose}: {difference}."] if difference else []


def _common_placement(placements: Sequence[Placement]) -> Placement | None:
    """One that more than half agree with, wherever they lie, if there is one."""
    for placement in placements:
        if sum(other.difference(placement, anywhere=True) is None for other in placements) * 2 > len(placements):
            return placement
    return None


def mirrored(examined: Sequence[Examined]) -> list[str]:
    """Scans whose structures lie in the wrong order along an axis of the body: their orientation is not what they say.

    Two structures make a rule where they lie in the same order in nearly all scans (the liver is to the right of the
    spleen). A scan that breaks most of an axis's rules is mirrored or turned.
    """
    judged = [one for one in examined if one.centroids]
    if len(judged) < _SCANS:
        return []
    order = _order(judged)
    known = ~np.isnan(order)
    count = known.sum(0, keepdims=True)
    mean = np.where(known, order, 0).sum(0, keepdims=True) / np.maximum(count, 1)
    rule = known & (count >= _SCANS) & (np.abs(mean) >= 2 * _ORDERED - 1)
    broken = rule & (np.where(known, order, 0) * mean < 0)
    faults = []
    for one, rules, breaks in zip(judged, rule.sum(1), broken.sum(1), strict=True):
        for axis, name in enumerate(_AXES):
            if rules[axis] >= _RULES and breaks[axis] * 2 > rules[axis]:
                faults.append(
                    f"{one.scan.labels} is mirrored or turned: {breaks[axis]} of {rules[axis]} pairs of structures lie "
                    f"in another order from {name} than in nearly all scans; correct the orientation of this case."
                )
    return faults


def _order(judged: Sequence[Examined]) -> npt.NDArray[np.float64]:
    """(scans, pairs of labels, axes): +1 or −1 for which of two centroids comes first, NaN where one is absent."""
    numbers = sorted({number for one in judged for number in one.centroids})
    nowhere = np.full(3, np.nan)
    centroids = np.array([[one.centroids.get(number, nowhere) for number in numbers] for one in judged])
    first, second = np.triu_indices(len(numbers), 1)
    order: npt.NDArray[np.float64] = np.sign(centroids[:, second] - centroids[:, first])
    return order
