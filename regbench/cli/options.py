"""Options and arguments that several commands take, each said once."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import KindChoice

DEFAULT_RUNS = Path("runs")

KindArgument = Annotated[KindChoice, typer.Argument(metavar="KIND", help="What it is.")]
PluginArgument = Annotated[str, typer.Argument(metavar="NAME", help="See 'regbench list'.")]
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder of all runs.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id (or how it begins) or its folder.")]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A Python file with plugins; may be repeated.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
RunDeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda or cuda:N. Without it: a GPU for what was run on one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
ScansOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The real scans. Without it: the phantom cohort.")
]
RunScansOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The real scans of the run. Phantoms are made again.")
]
ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", metavar="NAME", help="See 'regbench show task NAME'.")
]
