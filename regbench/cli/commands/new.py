"""`regbench new`: the beginnings of a plugin of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import KindChoice
from regbench.cli.options import KindArgument

_TRY = {
    KindChoice.method: "regbench run --task abdomen --method {name}",
    KindChoice.task: "regbench run --task {name} --method voxelmorph",
    KindChoice.metric: "regbench run --task abdomen --method identity",
    KindChoice.masks: "regbench masks score {name} --task abdomen",
}


def new(
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case with hyphens, e.g. my-own.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a small package to start a plugin from; it installs, passes its test and runs as it stands.

    A method: a small network. A task: synthetic scans. A metric: every structure's volume.

    A mask source: it has learnt where structures lie.
    """
    from regbench.cli.scaffold import write_package
    from regbench.registry import NOUNS

    made = write_package(kind.value, name, folder)
    typer.echo(
        f"{made} is a package with the {NOUNS[kind.value]} '{name}'. Next:\n\n"
        f"  pip install -e {made}\n"
        f"  regbench check {kind.value} {name}\n"
        f"  {_TRY[kind].format(name=name)}"
    )
