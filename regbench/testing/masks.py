"""The contract of a mask source."""

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from regbench.api import MaskRequest, MaskSource, Shape, Volume
from regbench.data import write_volume
from regbench.registry import configure
from regbench.testing import scenes
from regbench.testing.faults import card_faults, gather, instance_of

_SHAPE: Shape = (24, 20, 16)
_SCANS = ("train1", "train2", "test1", "test2")
_LABELS = {1: "ball", 2: "core"}


def check_masks(source: str | type[MaskSource] | MaskSource) -> list[str]:
    """The faults of a mask source, one sentence each.

    Looked at: the card and what it says it has seen; that every scan gets a label map of unsigned 8 bit on its own
    grid, with no label that was not asked for; that nothing is written to; that the same seed gives the same masks; and
    that it asks for the truth only if it says so.

    Args:
        source: its class or its name in the registry, to be tried as the quick preset has it; or an instance.

    Raises:
        RequestError: if it cannot be tried here, e.g. because a program or a folder that it needs is missing.
    """
    one: MaskSource = instance_of("masks", source)
    if one is not source:
        one = configure(type(one), one.quick)
    return gather(
        one,
        [("its card was read", partial(card_faults, one)), ("its flags were read", partial(_flags, one))],
        [("it made masks", partial(_masks, one))],
    )


def _flags(source: MaskSource) -> Iterator[str]:
    for flag in ("saw_test_images", "saw_test_labels"):
        if not isinstance(getattr(source, flag, None), bool):
            yield f"It does not say `{flag}`; expected True or False."


def _masks(source: MaskSource) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        request = _request(source, Path(one))
        before = {name: volume.data.clone() for name, volume in request.scans.items()}
        masks = source.masks(request)
        yield from _map_faults(masks, request)
        if any(not torch.equal(before[name], volume.data) for name, volume in request.scans.items()):
            yield "It wrote to the scans that it was given; work on a copy."
        again = source.masks(_request(source, Path(other)))
        if isinstance(masks, Mapping) and any(
            name not in again or not torch.equal(mask.data, again[name].data) for name, mask in masks.items()
        ):
            yield "The same request with the same seed gives other masks; seed what is random with request.seed."


def _map_faults(masks: Any, request: MaskRequest) -> Iterator[str]:
    if not isinstance(masks, Mapping):
        yield f"`masks` gave a {type(masks).__name__}; expected a mapping from scan id to label map."
        return
    for name in sorted(request.scans.keys() - masks.keys()):
        yield f"There is no mask for the scan {name}."
    for name in sorted(masks.keys() & request.scans.keys()):
        mask = masks[name]
        if mask.data.dtype != torch.uint8:
            yield f"The mask of {name} is of {mask.data.dtype}; expected torch.uint8."
            continue
        if not mask.grid.matches(request.scans[name].grid):
            yield f"The mask of {name} lies on another grid than its scan."
        strangers = set(mask.data.unique().tolist()) - {0, *request.labels}
        if strangers:
            yield f"The mask of {name} holds the labels {sorted(strangers)}, which were not asked for."


def _request(source: MaskSource, workspace: Path) -> MaskRequest:
    """Balls that lie elsewhere in each scan, with their labels."""
    pairs = [scenes.ball(_SHAPE, (n - 1.5, 0.5 * n, -n / 2), masks=True) for n in range(len(_SCANS))]
    scans = {name: pair.moving for name, pair in zip(_SCANS, pairs, strict=True)}
    labels = {name: mask for name, pair in zip(_SCANS, pairs, strict=True) if (mask := pair.moving_mask)}
    training: Mapping[str, Volume] = {name: labels[name] for name in _SCANS[:2]}
    sources = {name: workspace / "scans" / f"{name}.nii.gz" for name in _SCANS}
    for name, file in sources.items():
        write_volume(file, scans[name])
    return MaskRequest(
        scans=scans,
        sources=sources,
        labels=_LABELS,
        training_labels=training,
        truth=labels if source.saw_test_labels else None,
        workspace=workspace,
        device=torch.device("cpu"),
        seed=0,
        modality="ct",
    )
