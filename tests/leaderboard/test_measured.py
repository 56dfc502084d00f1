"""Records and cases from disk."""

from pathlib import Path

import numpy as np
import pytest

from regbench.api import Protocol
from regbench.errors import StorageError
from regbench.leaderboard import arrange, measured
from regbench.leaderboard.measured import mean_over
from regbench.results import CaseRow, Store, pair_name, write_cases


def cases(protocol: Protocol) -> list[CaseRow]:
    rows = []
    for n, pair in enumerate(protocol.test_pairs):
        shared = (pair_name(pair), pair.fixed, pair.moving)
        rows += [CaseRow(*shared, "dsc", label, 10.0 * n + label) for label in protocol.labels if (n, label) != (2, 7)]
        rows.append(CaseRow(*shared, "sdlogj", None, n / 10))
    return rows


def save(store: Store, run, protocol: Protocol) -> Path:
    folder = store.folder(run.record.task, run.record.row, run.record.run_id)
    folder.path.mkdir(parents=True)
    write_cases(folder.cases, cases(protocol))
    folder.save(run.record)
    return folder.path


def test_a_store_comes_back_as_tables(tmp_path: Path, make_run, protocol: Protocol) -> None:
    store = Store(tmp_path)
    save(store, make_run("identity"), protocol)
    save(store, make_run("broken", status="failed", reason="no luck"), protocol)
    runs, faults = measured(store)
    assert faults == []
    by_name = {run.record.method.name: run for run in runs}
    table = by_name["identity"].values["dsc"]
    expected = 10.0 * np.arange(10)[:, None] + np.array([1, 2, 7])
    expected[2, 2] = np.nan
    np.testing.assert_array_equal(table, expected)
    np.testing.assert_allclose(by_name["identity"].values["sdlogj"][:, 0], np.arange(10) / 10)
    assert by_name["identity"].by_label == {"dsc"}
    assert by_name["broken"].values == {}


def test_what_cannot_be_read_is_said_and_stops_nothing(tmp_path: Path, make_run, protocol: Protocol) -> None:
    store = Store(tmp_path)
    save(store, make_run("identity"), protocol)
    spoiled = save(store, make_run("spoiled"), protocol)
    (spoiled / "cases.csv").write_text("nonsense\n")
    foreign = save(store, make_run("foreign"), protocol)
    write_cases(foreign / "cases.csv", [CaseRow("x_y", "x", "y", "dsc", 1, 0.0)])
    runs, faults = measured(store)
    assert [run.record.method.name for run in runs] == ["identity"]
    assert len(faults) == 2
    assert all(str(folder / "cases.csv") in " ".join(faults) for folder in (spoiled, foreign))


def test_strangers_are_refused(protocol: Protocol) -> None:
    pair = protocol.test_pairs[0]
    with pytest.raises(StorageError, match="label 3"):
        arrange([CaseRow("p", pair.fixed, pair.moving, "dsc", 3, 1.0)], protocol)
    with pytest.raises(StorageError, match="pair p"):
        arrange([CaseRow("p", pair.moving, pair.fixed, "dsc", 1, 1.0)], protocol)


def test_mean_over_agrees_with_nanmean() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    values[1, 2:4] = np.nan
    values[2, 3, 3] = np.nan
    np.testing.assert_allclose(mean_over(values, axis=0), np.nanmean(values, axis=0))
    assert np.isnan(mean_over(values, axis=2)[1, 2])
