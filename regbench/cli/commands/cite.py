"""`regbench cite`: the BibTeX of runs."""

from typing import Annotated

import typer

from regbench.cli.options import DEFAULT_RUNS, PluginOption, RunsOption


def cite(
    run: Annotated[list[str], typer.Argument(metavar="RUN", help="A run's id (or how it begins) or its folder.")],
    runs: RunsOption = DEFAULT_RUNS,
    plugin: PluginOption = None,
) -> None:
    """Print the BibTeX of the methods, tasks and mask sources of runs."""
    from regbench.cli.citing import citations
    from regbench.registry import Registry
    from regbench.results import Store

    store = Store(runs)
    records = [store.find(name)[1] for name in run]
    typer.echo("\n\n".join(citations(records, Registry(plugin or []))))
