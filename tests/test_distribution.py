"""What is shipped: the wheel's files, the entry points."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from regbench.registry import GROUPS, Kind, Registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(  # noqa: S603 - a fixed command line
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        check=True,
    )
    with zipfile.ZipFile(next(folder.glob("regbench-*.whl"))) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel_names: set[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    roots = {"regbench": "", "baselines": "baselines/", "methods": "methods/", "tasks": "tasks/"}
    roots["leaderboards"] = "leaderboards/"
    expected = {name.removeprefix(roots[top]) for name in tracked if (top := name.split("/")[0]) in roots}
    assert {name for name in wheel_names if ".dist-info/" not in name} == expected


def test_nothing_generic_reaches_site_packages(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.startswith("regbench")} == set()


@pytest.mark.parametrize("kind", GROUPS)
def test_every_plugin_that_ships_can_be_used(kind: Kind) -> None:
    assert Registry().broken(kind) == {}


def test_entry_points_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for kind, group in GROUPS.items():
        assert set(project["entry-points"][group]) <= set(Registry().names(kind))
