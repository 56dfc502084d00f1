"""`regbench data`: check scans, prepare them, write phantoms."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.options import PluginOption

data = typer.Typer(
    help="Check real scans, prepare them, write a phantom cohort, or clean the cache.", no_args_is_help=True
)

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="See 'regbench list tasks'.")]
DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of the scans.")]
ProtocolOption = Annotated[str | None, typer.Option("--protocol", metavar="NAME", help="Only the scans it names.")]
GridOption = Annotated[str | None, typer.Option("--grid", metavar="IxJxK", help="Number of voxels, e.g. 96x80x128.")]


@data.command("check")
def check_data(
    task: TaskArgument, data: DataOption, protocol: ProtocolOption = None, plugin: PluginOption = None
) -> None:
    """Look for every fault of a folder of scans, in one go."""
    from regbench.cli.lookup import find_protocol, find_task
    from regbench.data import check
    from regbench.errors import DataError

    found = find_task(task, plugin)
    faults = check(found, data, find_protocol(task, found, protocol) if protocol else None)
    if faults:
        raise DataError(faults)
    typer.echo(f"{data} is sound.")


@data.command("prepare")
def prepare_data(
    task: TaskArgument,
    data: DataOption,
    protocol: ProtocolOption = None,
    grid: GridOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check and preprocess scans ahead of a run, into the cache."""
    from regbench.api.grid import times
    from regbench.cli.lookup import find_protocol, find_task
    from regbench.cli.settings import read_shape
    from regbench.data import fitting_protocol, found_scans, prepare

    found = find_task(task, plugin)
    scans, _ = found_scans(found, data)
    chosen = find_protocol(task, found, protocol) if protocol or not scans else fitting_protocol(found, scans)
    on_grid = chosen.at(read_shape(grid)) if grid else chosen
    place = prepare(found, data, on_grid)
    typer.echo(f"The scans of protocol {on_grid.name} are prepared on {times(on_grid.grid.shape)} voxels, in {place}.")


@data.command("phantom")
def write_phantom(
    task: TaskArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    cases: Annotated[
        int | None,
        typer.Option("--cases", min=1, help="Number of patients.", show_default="as the protocol phantom has"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 0,
    grid: GridOption = None,
    plugin: PluginOption = None,
) -> None:
    """Write a phantom cohort in the task's official layout."""
    from regbench.cli.lookup import find_protocol, find_task
    from regbench.cli.settings import read_shape
    from regbench.data import replacing_folder
    from regbench.data.files.folders import refuse_full

    found = find_task(task, plugin)
    refuse_full(out)
    protocol = find_protocol(task, found, "phantom")
    shape = read_shape(grid) if grid else protocol.quick_shape
    count = cases or len(protocol.patients)
    with replacing_folder(out) as temporary:
        found.phantom(temporary, cases=count, seed=seed, shape=shape)
    typer.echo(f"{count} synthetic patients are in {out}.")


@data.command("clean")
def clean_cache(
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was not used for so long.")
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove prepared scans, phantoms and masks from the cache that were not used for long; runs are not touched.

    What is removed is made again when it is needed. What was used within the last hour, or is locked, stays.
    """
    from regbench.data import cache_folder
    from regbench.results.caching import cache_entries, remove_entry

    cache = cache_folder()
    entries = cache_entries(cache)
    chosen = [entry for entry in entries if not entry.held and entry.unused_days >= older_than]
    removed = [entry for entry in chosen if dry_run or remove_entry(entry)]
    verb = "would go" if dry_run else "removed"
    for entry in removed:
        place = entry.path.relative_to(cache)
        typer.echo(f"{verb}: {_size(entry.bytes)}, not used for {entry.unused_days:.0f} days: {place}")
    gone, total = (sum(entry.bytes for entry in some) for some in (removed, entries))
    typer.echo(f"{verb}: {_size(gone)} of the {_size(total)} in {cache}.")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
