"""`regbench bundle`: runs in one file, to be published."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.options import DEFAULT_RUNS, RunsOption


def bundle(
    run: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="A run's id (or how it begins) or its folder; 'all': all that are done."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.zip", help="The bundle.")],
    weights: Annotated[bool, typer.Option("--weights", help="With the networks' weights.")] = False,
    fields: Annotated[bool, typer.Option("--fields", help="With the displacement fields that were kept.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Pack records, cases and histories of finished runs into one file; no scans."""
    from regbench.cli.console import warn
    from regbench.errors import StorageError
    from regbench.results import Store
    from regbench.results.bundle import write_bundle

    store = Store(runs)
    listing = store.list()
    for fault in listing.faults if "all" in run else ():
        warn(fault)
    everything = [(folder, record) for folder, record in listing if record.status == "done"]
    chosen = [one for name in run for one in (everything if name == "all" else [store.find(name)])]
    if not chosen:
        raise StorageError(f"There is no finished run in {runs}; name the folder of the runs with --runs.")
    count = write_bundle(out, chosen, weights=weights, fields=fields)
    typer.echo(f"Runs in {out}: {count} ({out.stat().st_size / 1024:.0f} KiB).")
