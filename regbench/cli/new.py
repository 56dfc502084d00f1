"""`regbench new`: the beginnings of a plugin of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regbench.registry import Kind

new = typer.Typer(help="Write a small package to start a plugin from.", no_args_is_help=True)


FolderOption = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its folder is made.")]


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As --method will take it, e.g. my-method.")],
    folder: FolderOption = Path(),
) -> None:
    """Write a package with one method, a test and a README; it installs and runs as it stands."""
    _write("method", name, folder, f"regbench run --task abdomen --method {name}")


@new.command("task")
def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As --task will take it, e.g. my-task.")],
    folder: FolderOption = Path(),
) -> None:
    """Write a package with one task on synthetic scans, a test and a README; it installs and runs as it stands."""
    _write("task", name, folder, f"regbench run --task {name} --method voxelmorph")


def _write(kind: "Kind", name: str, folder: Path, run: str) -> None:
    from regbench.cli.scaffold import write_package

    made = write_package(kind, name, folder)
    typer.echo(
        f"{made} is a package with the {kind} '{name}'. Next:\n\n"
        f"  pip install -e {made}\n"
        f"  regbench check {kind} {name}\n"
        f"  {run}"
    )
