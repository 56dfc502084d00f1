"""The run record and the store on disk."""

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
)

__all__ = [
    "SCHEMA_VERSION",
    "CostRecord",
    "DataRecord",
    "MachineRecord",
    "MasksRecord",
    "MethodRecord",
    "MetricRecord",
    "RunRecord",
    "TrainingRecord",
]
