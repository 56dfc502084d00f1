import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regbench.api import PairId
from regbench.errors import StorageError
from regbench.results import CaseRow, pair_name, read_cases, write_cases

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)
ROWS = st.lists(st.builds(CaseRow, NAMES, NAMES, NAMES, NAMES, st.none() | st.integers(0, 255), st.floats()))


@given(rows=ROWS)
def test_rows_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, rows: list[CaseRow]) -> None:
    path = tmp_path_factory.mktemp("cases") / "cases.csv"
    write_cases(path, rows)
    back = read_cases(path)
    assert [row[:5] for row in back] == [row[:5] for row in rows]
    for a, b in zip(back, rows, strict=True):
        assert a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))


def test_the_columns_are_those_of_the_design(tmp_path: Path) -> None:
    row = CaseRow("0001_0004", "0001", "0004", "dsc", 3, 0.1)
    write_cases(tmp_path / "cases.csv", [row, row._replace(metric="tre", label=None)])
    assert (tmp_path / "cases.csv").read_text().splitlines() == [
        "pair,fixed,moving,metric,label,value",
        "0001_0004,0001,0004,dsc,3,0.1",
        "0001_0004,0001,0004,tre,,0.1",
    ]
    frame = pd.read_csv(tmp_path / "cases.csv", dtype={"fixed": str})
    assert frame["fixed"].tolist() == ["0001", "0001"]


def test_a_pair_in_one_word() -> None:
    assert pair_name(PairId("0001", "0004")) == "0001_0004"
    assert "/" not in pair_name(PairId("patient001/ES", "patient001/ED"))


@pytest.mark.parametrize("content", ["", "a,b\n", "pair,fixed,moving,metric,label,value\na,b,c,d,1\n"])
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(content)
    with pytest.raises(StorageError, match=r"cases\.csv"):
        read_cases(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        read_cases(tmp_path / "cases.csv")
