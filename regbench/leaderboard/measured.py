"""What the board is made from: the record of a run and the values of its cases, read from disk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from regbench.api import PairId, Protocol
from regbench.errors import StorageError
from regbench.results import CaseRow, RunRecord, Store, read_cases

Table = Float[np.ndarray, "pairs _"]


@dataclass(frozen=True, eq=False)
class Measured:
    """A run as the board sees it.

    Attributes:
        record: run.json.
        values: metric → (pairs, labels) in the order of the protocol's test pairs and labels, or (pairs, 1) for a
            metric without labels; NaN where nothing was scored. Empty unless the run is done.
        by_label: the metrics that have labels.
    """

    record: RunRecord
    values: Mapping[str, Table] = field(default_factory=dict)
    by_label: frozenset[str] = frozenset()


def measured(store: Store) -> tuple[list[Measured], list[str]]:
    """Every run of a store, and one sentence for each that cannot be read."""
    listing = store.list()
    runs, faults = [], list(listing.faults)
    for folder, record in listing:
        try:
            done = record.status == "done"
            cases = read_cases(folder.cases, record.files.get(folder.cases.name)) if done else []
            values = arrange(cases, record.protocol, str(folder.cases))
            by_label = frozenset(case.metric for case in cases if case.label is not None)
            runs.append(Measured(record, values, by_label))
        except StorageError as error:
            faults.append(str(error))
    return runs, faults


def arrange(rows: Iterable[CaseRow], protocol: Protocol, source: str = "cases.csv") -> dict[str, Table]:
    """The rows of a cases.csv, one table a metric, as `Measured` holds them.

    Args:
        rows: in any order.
        protocol: whose test pairs and labels give the tables their shape.
        source: the file, for the error.

    Raises:
        StorageError: for a pair or a label that the protocol does not have.
    """
    place = {pair: n for n, pair in enumerate(protocol.test_pairs)}
    column = {label: n for n, label in enumerate(protocol.labels)}
    tables: dict[str, Table] = {}
    for row in rows:
        pair = PairId(row.fixed, row.moving)
        if pair not in place or (row.label is not None and row.label not in column):
            raise StorageError(
                f"{source} holds {row.metric} of the pair {row.pair}, label {row.label}, which protocol "
                f"{protocol.task} {protocol.name} does not have; repeat the run with --force."
            )
        if row.metric not in tables:
            tables[row.metric] = np.full((len(place), 1 if row.label is None else len(column)), np.nan)
        tables[row.metric][place[pair], 0 if row.label is None else column[row.label]] = row.value
    return tables


def mean_over(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """The mean of what is finite along an axis; NaN where nothing is.

    >>> mean_over(np.array([[1.0, np.nan], [3.0, np.nan]]), axis=0)
    array([ 2., nan])
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    mean: Float[np.ndarray, ...] = np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)
    return mean
