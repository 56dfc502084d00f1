"""`regbench check`: does a plugin keep to its contract?"""

import typer

from regbench.cli.options import KindArgument, PluginArgument, PluginOption


def check(kind: KindArgument, name: PluginArgument, plugin: PluginOption = None) -> None:
    """Check that a plugin keeps to its contract; each fault is a sentence.

    Of a method: shapes, determinism, sign and axes, any size, gradients, weights.

    Of a task: protocols, layout, phantoms.

    Of a metric: a pure function, the right way up.

    Of a mask source: label maps for every scan, and no look at the truth.
    """
    from regbench.cli.console import err
    from regbench.cli.errors import FAILED
    from regbench.leaderboard.views.sheet import counted
    from regbench.registry import NOUNS, Registry
    from regbench.testing import check_plugin

    faults = check_plugin(kind.value, Registry(plugin or []).load(kind.value, name))
    what = f"{NOUNS[kind.value]} '{name}'"
    for fault in faults:
        err().print(f"- {fault}", markup=False, soft_wrap=True)
    if faults:
        err().print(f"The {what} has {counted(len(faults), 'fault')}.", markup=False)
        raise typer.Exit(FAILED)
    typer.echo(f"The {what} keeps to its contract.")
