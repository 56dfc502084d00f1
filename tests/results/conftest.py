from collections.abc import Callable

import pytest

from regbench.api import Protocol
from regbench.results import DataRecord, MachineRecord, MethodRecord, RunRecord


@pytest.fixture
def make_record(toy_protocol: Protocol, a_machine: MachineRecord) -> Callable[..., RunRecord]:
    def make(run_id: str = "abc123", **changes: object) -> RunRecord:
        record = RunRecord(
            run_id=run_id,
            row="toy",
            task="toy",
            task_title="Toy",
            protocol=toy_protocol,
            preset="quick",
            data=DataRecord(kind="phantom", fingerprint="f", pairs="p"),
            method=MethodRecord(name="toy", title="Toy", distribution="d", version="1", configuration={"width": 2}),
            seed=0,
            machine=a_machine,
            status="done",
            started="2026-01-01T00:00:00+00:00",
        )
        return record.model_copy(update=changes)

    return make
