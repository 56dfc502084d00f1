"""Landmark files."""

from pathlib import Path

import pytest

from regbench.data import read_landmarks
from regbench.errors import DataError


def test_names_and_places(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,x,y,z\nliver 1,1.5,-2,3e1\nspleen,0,0,0\n")
    assert read_landmarks(tmp_path / "a.csv") == {"liver 1": (1.5, -2.0, 30.0), "spleen": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y,z\n1,2,3\n", "expected name, x, y, z"),
        ("name,x,y,z\na,1,2,3\na,1,2,3\n", "names the landmark 'a' twice"),
        ("name,x,y,z\na,1,2,three\n", "line 2: expected three numbers"),
        ("name,x,y,z\nb,1,2,3\na,1,2\n", "line 3: expected three numbers"),
        ("name,x,y,z\na,1,2,nan\n", "line 2: expected three numbers"),
        ("\x00\xff", "a.csv"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"a.csv") as caught:
        read_landmarks(tmp_path / "a.csv")
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv is missing"):
        read_landmarks(tmp_path / "a.csv")
