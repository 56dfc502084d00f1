"""The run record and the store on disk."""

from regbench.results.cases import CaseRow, pair_name, read_cases, write_cases
from regbench.results.history import History
from regbench.results.lock import is_locked, locked
from regbench.results.record import (
    SCHEMA_VERSION,
    CostRecord,
    DataRecord,
    MachineRecord,
    MasksRecord,
    MethodRecord,
    MetricRecord,
    RunRecord,
    TrainingRecord,
    flat_recipe,
)
from regbench.results.store import Listing, RunFolder, Store

__all__ = [
    "SCHEMA_VERSION",
    "CaseRow",
    "CostRecord",
    "DataRecord",
    "History",
    "Listing",
    "MachineRecord",
    "MasksRecord",
    "MethodRecord",
    "MetricRecord",
    "RunFolder",
    "RunRecord",
    "Store",
    "TrainingRecord",
    "flat_recipe",
    "is_locked",
    "locked",
    "pair_name",
    "read_cases",
    "write_cases",
]
