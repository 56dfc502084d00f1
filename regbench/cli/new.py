"""`regbench new`: the beginnings of a plugin of one's own."""

from pathlib import Path
from typing import Annotated

import typer

new = typer.Typer(help="Write a small package to start a plugin from.", no_args_is_help=True)


@new.callback()
def _kinds() -> None:
    """Write a small package to start a plugin from."""


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As --method will take it, e.g. my-method.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a package with one method, a test and a README; it installs and runs as it stands."""
    from regbench.cli.scaffold import write_method

    made = write_method(name, folder)
    typer.echo(
        f"{made} is a package with the method '{name}'. Next:\n\n"
        f"  pip install -e {made}\n"
        f"  regbench check method {name}\n"
        f"  regbench run --task abdomen --method {name}"
    )
