"""A board: rows whose numbers may stand in one column."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from regbench.api import Protocol
from regbench.leaderboard.measured import Measured
from regbench.leaderboard.naming import display_name, distinct_names
from regbench.leaderboard.row import BASELINE, Row, configuration_key, pool
from regbench.leaderboard.statistics.paired import patients_of
from regbench.leaderboard.timing import timed_beside_others
from regbench.results import DataRecord, MetricRecord, RunRecord

PRIMARY = "dsc"


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave no row: what was asked for, how it ended, and why."""

    name: str
    seed: int
    status: str
    reason: str
    run_id: str


@dataclass(frozen=True, eq=False)
class Board:
    """Rows of one task, one set of scans, one protocol on one grid.

    Attributes:
        task: the task's name.
        task_title: as a caption prints it.
        protocol: the protocol as used.
        data: which scans.
        rows: Initial first, then the methods, best first.
        failures: runs that gave no row.
        beside_others: the runs that were timed while another one, of any board, was at work.
    """

    task: str
    task_title: str
    protocol: Protocol
    data: DataRecord
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()
    beside_others: frozenset[str] = frozenset()

    @property
    def initial(self) -> Row | None:
        """The row of the unregistered pairs, by which protocols are told apart."""
        return next((row for row in self.rows if row.is_initial), None)

    @property
    def metrics(self) -> Mapping[str, MetricRecord]:
        """Every metric that some row has, by name."""
        return {name: record for row in self.rows for run in row.runs for name, record in run.metrics.items()}

    @property
    def is_phantom(self) -> bool:
        """Whether the scans are made up."""
        return self.data.kind == "phantom"

    @property
    def patients(self) -> list[str]:
        """The patients of the test side that are in a pair."""
        return patients_of(self.protocol.test_pairs)

    def best(self, metric: str = PRIMARY) -> Row | None:
        """The best of the rows that may be called so, or None."""
        ranked = [row for row in self.rows if row.is_ranked and metric in row.values]
        sign = 1 if metric not in self.metrics or self.metrics[metric].higher_is_better else -1
        return max(ranked, key=lambda row: sign * row.mean(metric), default=None)


def boards(runs: Iterable[Measured]) -> list[Board]:
    """The runs sorted into boards: phantoms and real scans, protocols, revisions, grids and data never meet in one."""
    runs = list(runs)
    beside_others = timed_beside_others([run.record for run in runs])
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        groups.setdefault(board_key(run.record), []).append(run)
    made = [_board(group, beside_others) for group in groups.values()]
    return sorted(made, key=lambda board: (board.task, board.data.kind, board.protocol.name, board.protocol.grid.shape))


def board_key(record: RunRecord) -> str:
    """All that has to be equal for two numbers to stand in one column."""
    facts = [record.task, record.data.model_dump(mode="json"), record.protocol.decisive()]
    return json.dumps(facts, sort_keys=True)


def _board(group: Sequence[Measured], beside_others: frozenset[str]) -> Board:
    newest = max((run.record for run in group), key=lambda record: record.started)
    rows = _rows([run for run in group if run.record.status == "done"])
    return Board(
        task=newest.task,
        task_title=newest.task_title,
        protocol=newest.protocol,
        data=newest.data,
        rows=tuple(sorted(rows, key=_place)),
        failures=_failures([run.record for run in group if run.record.status != "done"]),
        beside_others=beside_others & {run.record.run_id for run in group},
    )


def _rows(runs: Sequence[Measured]) -> list[Row]:
    configurations: dict[str, list[Measured]] = {}
    for run in runs:
        # The unregistered state is the same whatever version of regbench measured it.
        unregistered = run.record.method.name == BASELINE and not run.record.refine
        key = BASELINE if unregistered else configuration_key(run.record)
        configurations.setdefault(key, []).append(run)
    groups = list(configurations.values())
    names = distinct_names([group[0].record for group in groups])
    return [pool(name, group) for name, group in zip(names, groups, strict=True)]


def _place(row: Row) -> tuple[bool, float, str]:
    score = row.mean(PRIMARY)
    return not row.is_initial, float("inf") if isnan(score) else -score, row.name


def _failures(records: Sequence[RunRecord]) -> tuple[Failure, ...]:
    usual = {
        "running": "another process is at it",
        "interrupted": "the same command goes on from the last checkpoint",
    }
    failures = [
        Failure(
            display_name(record),
            record.seed,
            record.status,
            record.reason or usual.get(record.status, ""),
            record.run_id,
        )
        for record in records
    ]
    return tuple(sorted(failures, key=lambda failure: (failure.name, failure.seed)))
