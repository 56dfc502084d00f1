"""Runs that nobody ran: records and values to make boards of."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from regbench.api import Crop, PairId, Protocol, Window
from regbench.leaderboard import Measured
from regbench.results import (
    CostRecord,
    DataRecord,
    MachineRecord,
    MasksRecord,
    MethodRecord,
    MetricRecord,
    RunRecord,
    TrainingRecord,
)

MakeRun = Callable[..., Measured]


@pytest.fixture
def protocol() -> Protocol:
    """Five patients on each side, ten test pairs, three structures."""
    train, test = tuple(f"a{n}" for n in range(5)), tuple(f"b{n}" for n in range(5))
    return Protocol(
        task="toy", name="small", revision=1, title="A toy", train=train, test=test,
        train_pairs=tuple(PairId(a, b) for a, b in combinations(train, 2)), validation_pairs=(),
        test_pairs=tuple(PairId(a, b) for a, b in combinations(test, 2)),
        labels={1: "spleen", 2: "right kidney", 7: "portal and splenic vein"},
        grid=Crop(shape=(8, 6, 4), spacing_mm=(1, 1, 2)), quick_shape=(8, 6, 4), intensity=Window(low=0, high=1),
    )  # fmt: skip


@pytest.fixture
def make_run(protocol: Protocol, a_machine: MachineRecord, metric_records: Mapping[str, MetricRecord]) -> MakeRun:
    """A finished run with the given values; what is not given is plausible."""

    def make(
        method: str = "identity",
        values: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        title: str | None = None,
        row: str | None = None,
        version: str = "1.0",
        configuration: Mapping[str, Any] | None = None,
        masks: MasksRecord | None = None,
        trained: bool | None = None,
        steps: int = 100,
        recipe: Mapping[str, Any] | None = None,
        on: Protocol | None = None,
        **fields: Any,
    ) -> Measured:
        used = on or protocol
        tables = {name: np.asarray(table, dtype=float) for name, table in (values or {}).items()}
        trained = method != "identity" if trained is None else trained
        record = RunRecord(
            **{
                "run_id": f"{abs(hash((method, row, seed, steps, version))):016x}",
                "row": row or method,
                "task": used.task,
                "task_title": "Toys",
                "protocol": used,
                "preset": "quick",
                "data": DataRecord(kind="real", fingerprint="f" * 16, pairs="p" * 16),
                "method": MethodRecord(
                    name=method, title=title or method.capitalize(), distribution="regbench", version=version,
                    configuration=configuration or {}, trainable=trained,
                ),
                "masks": masks,
                "training": TrainingRecord(recipe=recipe or {}, steps=steps, steps_done=steps) if trained else None,
                "seed": seed,
                "machine": a_machine,
                "cost": CostRecord(seconds_per_pair=0.5, peak_memory_mib=512, parameters=1000 if trained else None,
                                   wall_seconds={"train": 60.0} if trained else {}),
                "status": "done",
                "started": "2025-01-01T00:00:00Z",
                "finished": f"2025-01-01T01:00:{seed:02d}Z",
                "metrics": {name: metric_records[name] for name in tables},
                **fields,
            }
        )  # fmt: skip
        return Measured(record, tables, frozenset(n for n, table in tables.items() if table.shape[1] > 1))

    return make
