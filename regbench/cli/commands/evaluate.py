"""`regbench evaluate`: score displacement fields that were made elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import PresetChoice
from regbench.cli.options import DEFAULT_RUNS, DeviceOption, PluginOption, ProtocolOption, RunsOption, ScansOption


def evaluate(
    task: Annotated[str, typer.Option("--task", metavar="NAME", help="The task.")],
    fields: Annotated[
        Path,
        typer.Option(
            "--fields",
            metavar="DIR",
            help="disp_FIXED_MOVING.nii.gz or .npz of every test pair, as Learn2Reg has it.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The row's name on the board.")],
    data: ScansOption = None,
    protocol: ProtocolOption = None,
    preset: Annotated[
        PresetChoice,
        typer.Option("--preset", help="The grid that is scored on: quick is a small one."),
    ] = PresetChoice.paper,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="task.NAME=VALUE", help="The task's fields; task.grid=96x80x128 sets the grid."),
    ] = None,
    save_fields: Annotated[bool, typer.Option("--save-fields", help="Keep the fields beside the record.")] = False,
    device: DeviceOption = "cpu",
    runs: RunsOption = DEFAULT_RUNS,
    force: Annotated[bool, typer.Option("--force", help="Score again what was scored before.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Score displacement fields that were made elsewhere, and put them on the board.

    Fields are on the grid of the fixed scan's file, or on the grid that is scored on, in voxels.
    """
    from regbench.cli.evaluating import GivenOrder, score_given

    order = GivenOrder(
        task=task,
        fields=fields,
        name=name,
        data=data,
        protocol=protocol,
        preset=preset.value,
        settings=set_ or [],
        save_fields=save_fields,
        device=device,
        runs=runs,
        force=force,
        plugins=plugin or [],
    )
    score_given(order)
