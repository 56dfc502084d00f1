"""`regbench export`: a run's fields for others to read."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import LayoutChoice
from regbench.cli.options import DEFAULT_RUNS, PluginOption, RunArgument, RunDeviceOption, RunScansOption, RunsOption


def export(
    run: RunArgument,
    to: Annotated[
        LayoutChoice,
        typer.Option("--to", help="l2r: a Learn2Reg submission, in voxels. itk: for ITK, ANTs and 3D Slicer, in mm."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder.")],
    data: RunScansOption = None,
    device: RunDeviceOption = None,
    runs: RunsOption = DEFAULT_RUNS,
    plugin: PluginOption = None,
) -> None:
    """Write the displacement fields of a run's test pairs, one file a pair.

    Fields that were not kept are registered again with the run's weights.
    """
    from regbench.cli.console import warn
    from regbench.cli.progress import shown
    from regbench.engine import asked_device, reopen
    from regbench.engine.proof.exporting import export as write
    from regbench.registry import Registry
    from regbench.results import Store

    folder, record = Store(runs).find(run)
    progress = shown()
    opened = reopen(folder, record, Registry(plugin or []), data=data, device=asked_device(device), progress=progress)
    for sentence in write(opened, to.value, out, progress):
        warn(sentence)
    typer.echo(f"{len(opened.pairs)} fields of {record.row} are in {out}.")
