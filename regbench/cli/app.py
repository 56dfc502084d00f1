"""The root command and all that hang on it."""

import logging
from typing import Annotated

import typer

from regbench.cli.commands.bundle import bundle
from regbench.cli.commands.check import check
from regbench.cli.commands.cite import cite
from regbench.cli.commands.data import data
from regbench.cli.commands.doctor import doctor
from regbench.cli.commands.evaluate import evaluate
from regbench.cli.commands.export import export
from regbench.cli.commands.leaderboard import leaderboard
from regbench.cli.commands.list_show import list_plugins, show
from regbench.cli.commands.masks import masks
from regbench.cli.commands.merge import merge
from regbench.cli.commands.new import new
from regbench.cli.commands.register import register
from regbench.cli.commands.report import report
from regbench.cli.commands.run import run
from regbench.cli.commands.verify import verify
from regbench.cli.errors import Commands

app = typer.Typer(
    name="regbench",
    cls=Commands,
    help="Benchmark suite and baseline zoo for deformable medical image registration.",
    epilog="First steps: 'regbench run --task abdomen --method ours' needs no data and no GPU.\n\n"
    "Exit status: 0 all is well; 1 something that was asked for failed; 2 the request itself is wrong; 130 Ctrl-C.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_RUNS = (
    "Examples:\n\n"
    "regbench run --task abdomen --method ours\n\n"
    "regbench run --task acdc --data scans/ACDC --method voxelmorph --masks none --masks segmenter --seed 0 --seed 1"
    "\n\n"
    "regbench run --task all --method all --preset paper --device cuda"
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from regbench import __version__

        typer.echo(f"regbench {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hold the options that stand before a command."""
    # What is wrong with a file is said in an error of our own, and need not be said twice.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


# In the order in which they are needed, which is that of the help; the two groups stand behind.
app.command("run", epilog=_RUNS)(run)
app.command("leaderboard")(leaderboard)
app.command("register")(register)
app.command("evaluate")(evaluate)
app.command("verify")(verify)
app.command("export")(export)
app.command("report")(report)
app.command("bundle")(bundle)
app.command("merge")(merge)
app.command("list")(list_plugins)
app.command("show", no_args_is_help=True)(show)
app.command("new", no_args_is_help=True)(new)
app.command("check", no_args_is_help=True)(check)
app.command("cite")(cite)
app.command("doctor")(doctor)
app.add_typer(data, name="data")
app.add_typer(masks, name="masks")
