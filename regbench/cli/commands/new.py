"""`regbench new`: the beginnings of a plugin of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regbench.registry import Kind

new = typer.Typer(
    help="Write a small package to start a plugin from; it installs, passes its test and runs as it stands.",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Lower case with hyphens, e.g. my-own.")]
FolderOption = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its folder is made.")]


@new.command("method")
def new_method(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write a package with one method, a small network."""
    _write("method", name, folder, f"regbench run --task abdomen --method {name}")


@new.command("task")
def new_task(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write a package with one task, on synthetic scans."""
    _write("task", name, folder, f"regbench run --task {name} --method voxelmorph")


@new.command("metric")
def new_metric(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write a package with one metric, of every structure's volume."""
    _write("metric", name, folder, "regbench run --task abdomen --method identity")


@new.command("masks")
def new_masks(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write a package with one mask source, which has learnt where structures lie."""
    _write("masks", name, folder, f"regbench masks score {name} --task abdomen")


def _write(kind: "Kind", name: str, folder: Path, run: str) -> None:
    from regbench.cli.scaffold import write_package
    from regbench.registry import NOUNS

    made = write_package(kind, name, folder)
    typer.echo(
        f"{made} is a package with the {NOUNS[kind]} '{name}'. Next:\n\n"
        f"  pip install -e {made}\n"
        f"  regbench check {kind} {name}\n"
        f"  {run}"
    )
