"""Methods, metrics and plans that are small enough to be trained in a second; sitting.py loads them as well."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from regbench.api import (
    Batch,
    Card,
    Case,
    Field,
    MaskRequest,
    MaskSource,
    Method,
    Metric,
    Pair,
    PairId,
    Recipe,
    Setting,
    Task,
    Trainable,
    Volume,
)
from regbench.data import load_cohort
from regbench.engine import Chosen, Plan
from regbench.metrics.overlap import dsc
from regbench.registry import Plugin
from regbench.spatial import warp

__all__ = ["load_cohort", "replace"]

CARD = Card(title="Toy", summary="A toy.")


class ToyNetwork(nn.Module):
    """Has all that a resumed training may get wrong: running statistics, random numbers, a count of its steps."""

    calls: Tensor

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(2, channels, 3, padding=1), nn.BatchNorm3d(channels), nn.LeakyReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Conv3d(channels, 3, 3, padding=1)
        self.scale = scale
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.scale * self.head(self.body(torch.cat([moving, fixed], 1)))


@dataclass(frozen=True)
class ToyMethod(Trainable):
    """A small network with every way of going wrong.

    Attributes:
        channels: of the network.
        scale: of its field.
        at: the training step (from 1) at which `what` happens.
        what: how it goes wrong.
        never_evaluates: predicts without looking whether the network is in evaluation mode.
    """

    card: ClassVar[Card] = CARD
    masks: ClassVar[Literal["training"]] = "training"

    channels: int = 2
    scale: float = 0.5
    at: int = 0
    what: Literal["nan", "gradient", "raise", "interrupt", "sigint", "full", "slow", "no weight"] = "nan"
    fast: bool = True
    sizes: tuple[int, ...] = (1, 2)

    def network(self, setting: Setting) -> nn.Module:
        return ToyNetwork(self.channels, self.scale)

    def training(self, preset: str) -> Recipe:
        return Recipe(weights={"similarity": 1.0, "smooth": 0.5, "segmentation": 0.1}, steps=12)

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        assert network.training
        u = self.displacement(network, batch)
        moved = warp(batch.moving, u)
        terms = {"similarity": (moved - batch.fixed).square().mean(), "smooth": u.diff(dim=2).square().mean()}
        if batch.fixed_mask is not None and batch.moving_mask is not None:
            organ = (batch.moving_mask > 0).float()
            terms["segmentation"] = (warp(organ, u) - (batch.fixed_mask > 0).float()).square().mean()
        if self.at and int(network.calls) == self.at:  # type: ignore[arg-type]
            terms |= self._trouble(terms["smooth"])
        if self.what == "slow":
            time.sleep(0.05)
        return terms

    def _trouble(self, term: Tensor) -> Mapping[str, Tensor]:
        if self.what == "nan":
            return {"smooth": term * float("nan")}
        if self.what == "gradient":
            return {"smooth": (term * 0).sqrt()}
        if self.what == "raise":
            raise RuntimeError("the toy\nbroke")
        if self.what == "interrupt":
            raise KeyboardInterrupt
        if self.what == "sigint":
            os.kill(os.getpid(), signal.SIGINT)
        if self.what == "full":
            raise OSError(28, "No space left on device")
        return {"other": term} if self.what == "no weight" else {}


@dataclass(frozen=True)
class MaskedToy(ToyMethod):
    """Cannot do without masks."""

    masks: ClassVar[Literal["always"]] = "always"  # type: ignore[assignment]

    def predict(self, network: nn.Module, pair: Pair) -> Field:
        assert pair.fixed_mask is not None
        return super().predict(network, pair)


@dataclass(frozen=True)
class Shift(Method):
    """Moves everything by some voxels, or does something wrong instead."""

    card: ClassVar[Card] = CARD

    voxels: float = 0.0
    wrong: Literal["", "raise", "exit", "memory", "nan", "shape", "grid", "type", "random"] = ""
    skips: tuple[str, ...] = ()

    def register(self, pair: Pair) -> Field:
        assert pair.fixed_mask is None
        u = torch.full((3, *pair.grid.shape), self.voxels)
        if self.wrong == "raise":
            raise ValueError("cannot shift")
        if self.wrong == "exit":
            raise SystemExit(3)
        if self.wrong == "memory":
            torch.empty(2**60)
        if self.wrong == "nan":
            u[0, 1, 2, 3] = float("nan")
        if self.wrong == "random":
            u = torch.rand(3, *pair.grid.shape)
        if self.wrong == "shape":
            return Field(u[:, 1:], pair.grid)
        if self.wrong == "grid":
            return Field(u[:, 1:], replace(pair.grid, shape=tuple(u[0, 1:].shape)))
        return u if self.wrong == "type" else Field(u, pair.grid)  # type: ignore[return-value]

    def skip(self, pair: Pair) -> str | None:
        out = pair.fixed.data.sum().item() > 0 and "all" in self.skips
        return "the toy does not like it" if out else None


@dataclass(frozen=True)
class Overlap(Metric):
    """Dice by label."""

    card: ClassVar[Card] = Card(title="DSC", summary="Overlap.")
    unit: ClassVar[str] = "%"
    higher_is_better: ClassVar[bool] = True

    broken: bool = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        if self.broken:
            raise ZeroDivisionError("broken metric")
        return {**dsc(case.truth.fixed_labels.data, case.moved_labels.data, case.truth.labels)}


@dataclass(frozen=True)
class Roundtrip(Metric):
    """How far a field and its reverse are from cancelling at rest; a number of the whole case."""

    card: ClassVar[Card] = Card(title="Round trip", summary="Both ways.")
    unit: ClassVar[str] = "voxel"
    higher_is_better: ClassVar[bool] = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        if case.reverse is None:
            return {}
        return {None: float((case.field.displacement + case.reverse.displacement).abs().mean())}


@dataclass(frozen=True)
class Halves(MaskSource):
    """Label 1 in the lower half of every scan; counts how often it was asked, in its workspace."""

    card: ClassVar[Card] = Card(title="Halves", summary="Half a scan.", trained_on="nothing")
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = False

    label: int = 1
    wrong: Literal["", "missing", "label", "raise"] = ""
    file: Path | None = None

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        log = request.workspace / "asked"
        log.write_text(log.read_text() + "x" if log.exists() else "x")
        if self.wrong == "raise":
            raise ValueError("no masks today")
        made = {}
        for scan, volume in request.scans.items():
            mask = torch.zeros(volume.grid.shape, dtype=torch.uint8)
            mask[: volume.grid.shape[0] // 2] = 77 if self.wrong == "label" else self.label
            made[scan] = Volume(mask, volume.grid)
        if self.wrong == "missing":
            made.popitem()
        return made


@dataclass(frozen=True)
class Copies(Halves):
    """Gives back the truth that it is shown."""

    saw_test_labels: ClassVar[bool] = True

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        assert request.truth is not None
        return request.truth


def chosen(kind: Any, instance: Any, name: str = "toy") -> Chosen[Any]:
    """An instance as if the registry had found its class."""
    return Chosen(Plugin(kind, name, "toys", "1.0", f"toys:{type(instance).__name__}"), instance)


def plan(task: Task, folder: Path, method: Method, masks: MaskSource | None = None, **changes: Any) -> Plan:
    """A plan for the toy task, on its quick grid."""
    protocol = task.protocols()["phantom"]
    recipe = method.training("quick") if isinstance(method, Trainable) else None
    values: dict[str, Any] = {
        "task_name": "toy",
        "task": task,
        "protocol": protocol.at(protocol.quick_shape),
        "data": "phantom",
        "folder": folder,
        "method": chosen("method", method),
        "masks": None if masks is None else chosen("masks", masks, "halves"),
        "recipe": recipe,
        "preset": "quick",
        "metrics": {"dsc": Overlap(), "roundtrip": Roundtrip()},
        "cache": folder.parent / "cache",
    }
    return Plan(**(values | changes))


def pairs(count: int) -> list[PairId]:
    """So many different pairs."""
    return [PairId(f"f{n}", f"m{n}") for n in range(count)]
