"""A board with everything on it, and its page, made once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regbench.api import Field, PairId, Protocol
from regbench.data import Cohort
from regbench.leaderboard import Board, Measured, boards
from regbench.registry import Registry
from regbench.report import page
from regbench.report.pictures.side_by_side import Gallery, Sources, gallery
from regbench.results import (
    CostRecord,
    DataRecord,
    MachineRecord,
    MasksRecord,
    MethodRecord,
    MetricRecord,
    RunFolder,
    RunRecord,
    TrainingRecord,
)

MASKS = MasksRecord(
    name="files", title="Files", distribution="regbench", version="1", configuration={"folder": "/secret/place/masks"},
    saw_test_images=False, saw_test_labels=False, used="training",
)  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """A row to be made up."""

    method: str
    dice: float
    title: str = ""
    seconds: float = 0.5
    folding: float = 0.1
    masks: MasksRecord | None = None
    status: str = "done"


ROWS = (
    Ask("identity", 20.0, folding=0.0, seconds=0.001),
    Ask("good", 60.0, "Good", seconds=2.0, folding=0.4),
    Ask("good", 64.0, "Good", seconds=2.0, folding=0.5, masks=MASKS),
    Ask("fair", 50.0, "Fair <b>&</b>", seconds=0.1, folding=0.2),
    Ask("poor", 40.0, "Poor", seconds=1.0, folding=0.9),
    Ask("broken", 0.0, "Broken", status="failed"),
)


def made(
    ask: Ask, protocol: Protocol, place: int, machine: MachineRecord, metrics: Mapping[str, MetricRecord]
) -> Measured:
    random = np.random.default_rng(place)
    pairs, labels = len(protocol.test_pairs), len(protocol.labels)
    done = ask.status == "done"
    tables = {
        "dsc": random.normal(ask.dice, 2, (pairs, labels)),
        "hd95": random.normal(100 - ask.dice, 2, (pairs, labels)),
        "folding": np.full((pairs, 1), ask.folding),
    }
    trained = ask.method != "identity"
    record = RunRecord(
        run_id=f"{place:012x}", row=ask.method + (" + files" if ask.masks else ""), task="toy", task_title="Toys",
        protocol=protocol, preset="quick", data=DataRecord(kind="phantom", fingerprint="f" * 16, pairs="p" * 16),
        method=MethodRecord(name=ask.method, title=ask.title or "Initial", distribution="regbench", version="1.0",
                            configuration={"weights": "/secret/place/weights.pt"}, trainable=trained),
        masks=ask.masks, seed=0, machine=machine,
        training=TrainingRecord(recipe={}, steps=60, steps_done=60) if trained else None,
        cost=CostRecord(seconds_per_pair=ask.seconds, peak_memory_mib=512, parameters=1000 if trained else None),
        status=ask.status, reason=None if done else "It broke.", started="2025-01-01T00:00:00Z",
        finished="2025-01-01T01:00:00Z", metrics={name: metrics[name] for name in tables} if done else {},
    )  # fmt: skip
    return Measured(record, tables if done else {}, frozenset({"dsc", "hd95"}))


@pytest.fixture(scope="session")
def board(toy_protocol: Protocol, a_machine: MachineRecord, metric_records: Mapping[str, MetricRecord]) -> Board:
    """Six pairs of four patients; Initial, four rows, one failure."""
    test = ("0001", "0004", "0005", "0006")
    pairs = tuple(PairId(a, b) for n, a in enumerate(test) for b in test[n + 1 :])
    protocol = toy_protocol.model_copy(update={"test": test, "test_pairs": pairs})
    return boards([made(ask, protocol, place, a_machine, metric_records) for place, ask in enumerate(ROWS)])[0]


@pytest.fixture(scope="session")
def folders(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, RunFolder]:
    """Run id → folder, with a history for each trained run."""
    found = {}
    for row in board.rows:
        folder = RunFolder(tmp_path_factory.mktemp("run"))
        if row.record.training:
            lines = [f"{n},{n / 10},0.001,{1 / n},{90 + n / 10 if n % 20 == 0 else ''}" for n in range(1, 61)]
            folder.history.write_text("\n".join(["step,seconds,learning_rate,total,validation", *lines, ""]))
        found[row.record.run_id] = folder
    return found


@dataclass(frozen=True)
class Opened:
    """Stands for a run that was opened again: everything moves by one voxel along the second axis."""

    cohort: Cohort

    def field(self, pair: PairId) -> Field:
        """The shift."""
        grid = self.cohort.pair(pair).grid
        u = torch.zeros(3, *grid.shape)
        u[1] = 1.0
        return Field(u, grid)


@pytest.fixture(scope="session")
def sources(folders: Mapping[str, RunFolder]) -> Sources:
    """Where runs are opened from."""
    return Sources(folders=folders, registry=Registry([]), data={}, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def drawn(board: Board, sources: Sources, toy_cohort: Cohort) -> Gallery:
    """Pictures of every row but the one that cannot be opened."""
    from regbench.errors import BadValueError
    from regbench.report.pictures import side_by_side

    def reopen(folder: RunFolder, record: RunRecord, *_: Any, **__: Any) -> Opened:
        if record.method.name == "poor":
            raise BadValueError("Its weights are gone.")
        return Opened(toy_cohort)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_by_side, "reopen", reopen)
        patch.setattr(side_by_side, "median_pair", lambda _: board.protocol.test_pairs[0])
        return gallery(board, sources, "g0")


@pytest.fixture(scope="session")
def text(board: Board, folders: Mapping[str, RunFolder], drawn: Gallery) -> str:
    """The page."""
    return page([board], folders, lambda *_: drawn)


@pytest.fixture(scope="session")
def page_file(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on disk."""
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(text, encoding="utf-8")
    return file
