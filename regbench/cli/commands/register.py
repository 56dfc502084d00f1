"""`regbench register`: two scans of anybody's."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.options import DEFAULT_RUNS, PluginOption, RunsOption

_MASKS, _SCORED = "for methods that look at masks", "to warp and to score with"


def _scan(flag: str, text: str) -> object:
    return typer.Option(flag, metavar="FILE", help=text)


def register(
    method: Annotated[
        str, typer.Option("--method", metavar="NAME|RUN", help="A run's id or folder, or a method without training.")
    ],
    fixed: Annotated[Path, _scan("--fixed", "The scan that stays: NIfTI, any size, spacing and orientation.")],
    moving: Annotated[Path, _scan("--moving", "The scan that is warped onto it.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder for what comes out.")],
    fixed_mask: Annotated[Path | None, _scan("--fixed-mask", f"Label map of the fixed scan, {_MASKS}.")] = None,
    moving_mask: Annotated[Path | None, _scan("--moving-mask", f"Label map of the moving scan, {_MASKS}.")] = None,
    fixed_labels: Annotated[Path | None, _scan("--fixed-labels", "Label map of the fixed scan, to score with.")] = None,
    moving_labels: Annotated[Path | None, _scan("--moving-labels", f"Label map of the moving scan, {_SCORED}.")] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            "--refine", metavar="N", min=0, help="N steps of optimisation on this pair.", show_default="the run's"
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="Whose intensities and grid a method without training takes."),
    ] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", metavar="NAME", help="Of that task.")] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", metavar="IxJxK", help="Voxels to register on, over the protocol's box.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A method's field, e.g. weights=FILE.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The real scans of the run, where its mask source has to see them."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    runs: RunsOption = DEFAULT_RUNS,
    force: Annotated[bool, typer.Option("--force", help="Write over what is in the folder.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Register two scans and write what comes out with the fixed scan's exact geometry.

    The moved scan and labels, the displacement for ITK, ANTs and 3D Slicer and in voxels, the Jacobian, a picture.

    What was done stands in register.json.
    """
    from regbench.cli.registering import OwnOrder, register_pair

    order = OwnOrder(
        method=method,
        fixed=fixed,
        moving=moving,
        out=out,
        masks=(fixed_mask, moving_mask),
        labels=(fixed_labels, moving_labels),
        refine=refine,
        task=task,
        protocol=protocol,
        grid=grid,
        settings=set_ or [],
        data=data,
        device=device,
        runs=runs,
        force=force,
        plugins=plugin or [],
    )
    register_pair(order)
