"""`regbench check`: does a plugin keep to its contract?"""

from typing import TYPE_CHECKING, Annotated

import typer

from regbench.cli.options import PluginOption

if TYPE_CHECKING:
    from pathlib import Path

    from regbench.registry import Kind

check = typer.Typer(help="Check that a plugin keeps to its contract; each fault is a sentence.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="See 'regbench list'.")]


def _check(kind: "Kind", name: str, files: "list[Path] | None") -> None:
    from regbench.cli.console import err
    from regbench.cli.errors import FAILED
    from regbench.leaderboard.views.sheet import counted
    from regbench.registry import NOUNS, Registry
    from regbench.testing import check_plugin

    faults = check_plugin(kind, Registry(files or []).load(kind, name))
    what = f"{NOUNS[kind]} '{name}'"
    for fault in faults:
        err().print(f"- {fault}", markup=False, soft_wrap=True)
    if faults:
        err().print(f"The {what} has {counted(len(faults), 'fault')}.", markup=False)
        raise typer.Exit(FAILED)
    typer.echo(f"The {what} keeps to its contract.")


@check.command("method")
def check_method(name: NameArgument, plugin: PluginOption = None) -> None:
    """Shapes, determinism, sign and axes, any size, gradients, weights."""
    _check("method", name, plugin)


@check.command("task")
def check_task(name: NameArgument, plugin: PluginOption = None) -> None:
    """Protocols, layout, phantoms."""
    _check("task", name, plugin)


@check.command("metric")
def check_metric(name: NameArgument, plugin: PluginOption = None) -> None:
    """A pure function, the right way up."""
    _check("metric", name, plugin)


@check.command("masks")
def check_masks(name: NameArgument, plugin: PluginOption = None) -> None:
    """Label maps for every scan, and no look at the truth."""
    _check("masks", name, plugin)
