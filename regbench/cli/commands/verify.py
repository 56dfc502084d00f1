"""`regbench verify`: is a run's record what comes out now?"""

import json as jsonlib
from typing import Annotated

import typer

from regbench.cli.options import (
    DEFAULT_RUNS,
    JsonOption,
    PluginOption,
    RunArgument,
    RunDeviceOption,
    RunScansOption,
    RunsOption,
)


def verify(
    run: RunArgument,
    data: RunScansOption = None,
    register: Annotated[
        bool, typer.Option("--register", help="Register again even where the run's fields are kept.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, help="Of every row, in its metric's unit. Without it: by the machine."),
    ] = None,
    device: RunDeviceOption = None,
    runs: RunsOption = DEFAULT_RUNS,
    json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Check a run's files by their digests, and its rows by computing them again.

    Kept fields are scored; else the pairs are registered again. Status 1: something is not as recorded.
    """
    from regbench.cli.errors import FAILED
    from regbench.cli.plans import usable_metrics
    from regbench.cli.progress import shown
    from regbench.cli.verifying import as_json, print_verdict
    from regbench.engine import asked_device, reopen
    from regbench.engine import verify as compare
    from regbench.registry import Registry
    from regbench.results import Store

    registry = Registry(plugin or [])
    folder, record = Store(runs).find(run)
    progress = shown()
    opened = reopen(folder, record, registry, data=data, device=asked_device(device), progress=progress)
    metrics, _ = usable_metrics(registry)
    verdict = compare(opened, metrics, register=register, tolerance=tolerance, progress=progress)
    if json:
        typer.echo(jsonlib.dumps(as_json(record, verdict), indent=2))
    else:
        print_verdict(record, verdict)
    if not verdict.holds:
        raise typer.Exit(FAILED)
