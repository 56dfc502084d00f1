"""The house: each room imports only from the rooms below it, and no file outgrows its place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = [
    "lazy",
    "errors",
    "api",
    "registry",
    "spatial",
    "losses",
    "metrics",
    "data",
    "results",
    "engine",
    "masks",
    "registration",
    "leaderboard",
    "report",
    "testing",
    "cli",
]
FOLDERS = {
    "cli": ["commands"],
    "data": ["files", "checks", "cohorts"],
    "engine": ["evaluation", "records", "training", "proof"],
    "leaderboard": ["statistics", "views", "formats"],
    "metrics": ["surfaces"],
    "report": ["plots", "pictures"],
}
"""Those within a room, from the lowest up."""
PLUGIN_PACKAGES = {
    "regbench_baselines": {"api", "errors", "losses", "spatial"},
    "regbench_methods": {"api", "errors", "losses", "spatial"},
    "regbench_tasks": {"api", "errors", "data", "spatial"},
    "regbench_leaderboards": set(),
}
SOURCES = {
    "regbench": ROOT / "regbench",
    **{name: next(ROOT.glob(f"*/{name}")) for name in PLUGIN_PACKAGES},
}
FILES = [
    pytest.param(package, path, id=str(path.relative_to(ROOT)))
    for package, folder in SOURCES.items()
    for path in sorted(folder.rglob("*.py"))
]


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "regbench" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize(("package", "path"), FILES)
def test_imports_point_downwards(package: str, path: Path) -> None:
    used = {room for module in imported_modules(path) if (room := room_of(module))}
    if package == "regbench":
        own = path.relative_to(SOURCES["regbench"]).parts[0].removesuffix(".py")
        allowed = set(ROOMS[: ROOMS.index(own) + 1]) if own in ROOMS else set()
    else:
        allowed = PLUGIN_PACKAGES[package]
    assert used <= allowed, f"{path.relative_to(ROOT)} imports {sorted(used - allowed)}"


def folder_of(module: str) -> tuple[str, str] | None:
    _, room, folder, *_ = [*module.split("."), "", ""]
    return (room, folder) if room_of(module) and folder in FOLDERS.get(room, []) else None


@pytest.mark.parametrize(
    "path", sorted(SOURCES["regbench"].glob("*/*/*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_imports_within_a_room_point_downwards_too(path: Path) -> None:
    room, own, _ = path.relative_to(SOURCES["regbench"]).parts
    above = FOLDERS[room][FOLDERS[room].index(own) + 1 :]
    used = {folder_of(module) for module in imported_modules(path)}
    assert not used & {(room, folder) for folder in above}


@pytest.mark.parametrize(("package", "path"), FILES)
def test_the_harness_knows_no_plugin_package(package: str, path: Path) -> None:
    plugins = {module.split(".")[0] for module in imported_modules(path)} & PLUGIN_PACKAGES.keys()
    allowed = {"regbench_leaderboards"} if package == "regbench" else PLUGIN_PACKAGES.keys()
    assert plugins <= set(allowed)


@pytest.mark.parametrize(("package", "path"), FILES)
def test_sizes(package: str, path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 500
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            docstring = ast.get_docstring(node, clean=False) or ""
            body = node.end_lineno - node.lineno - docstring.count("\n")
            assert body <= 70, f"{node.name} has {body} lines"


def test_every_room_is_listed() -> None:
    rooms = {p.name.removesuffix(".py") for p in SOURCES["regbench"].iterdir() if p.suffix == ".py" or p.is_dir()}
    assert rooms - {"__init__", "__pycache__", "py.typed"} == set(ROOMS)


def test_every_folder_of_a_room_is_listed() -> None:
    found = {(path.parts[-3], path.parts[-2]) for path in SOURCES["regbench"].glob("*/*/__init__.py")}
    assert found == {(room, folder) for room, folders in FOLDERS.items() for folder in folders}
