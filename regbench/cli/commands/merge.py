"""`regbench merge`: runs from bundles."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.options import DEFAULT_RUNS, RunsOption


def merge(
    file: Annotated[list[Path], typer.Argument(metavar="FILE", help="Bundles, as 'regbench bundle' writes them.")],
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Take the runs of bundles in, all of them or none.

    Refused: what was edited, contradicts a run that is there, or means another protocol or other data by a name.
    """
    from regbench.results import Store
    from regbench.results.merging import merge_bundles

    merged = merge_bundles(file, Store(runs))
    present = f"; there already: {len(merged.present)}" if merged.present else ""
    typer.echo(f"Runs taken into {runs}: {len(merged.added)}{present}.")
    for record in merged.added:
        typer.echo(f"  {record.run_id}  {record.task}, {record.protocol.name}: {record.row}")
