"""`regbench run`: train, evaluate, record, and print the board."""

from typing import Annotated

import typer

from regbench.cli.choices import PresetChoice
from regbench.cli.options import DEFAULT_RUNS, DeviceOption, PluginOption, ProtocolOption, RunsOption


def run(
    task: Annotated[list[str], typer.Option("--task", metavar="NAME", help="A task, or 'all'; may be repeated.")],
    method: Annotated[list[str], typer.Option("--method", metavar="NAME", help="A method, or 'all'; may be repeated.")],
    masks: Annotated[
        list[str] | None,
        typer.Option(
            "--masks",
            metavar="NAME",
            help="A mask source, or 'none'; may be repeated for a row each. Usual with --method all: none, segmenter.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="[TASK=]DIR", help="The real scans. Without it: the phantom cohort."),
    ] = None,
    protocol: ProtocolOption = None,
    preset: Annotated[
        PresetChoice, typer.Option("--preset", help="quick: minutes on a CPU, a small grid. paper: as published.")
    ] = PresetChoice.quick,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps instead of the preset's.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Train for so long instead: 90s, 10m, 2h.")
    ] = None,
    refine: Annotated[
        int,
        typer.Option("--refine", metavar="N", min=0, help="Then N steps of optimisation on each test pair itself."),
    ] = 0,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", metavar="N", help="0 if left out; may be repeated for a run each.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A method's field; or task.NAME, masks.NAME, recipe.NAME. task.grid=96x80x128 sets the grid.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = DEFAULT_RUNS,
    save_fields: Annotated[bool, typer.Option("--save-fields", help="Keep the displacement fields.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is done.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="So many at a time; if left out 1, or 2 for quick on a CPU."),
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Train and evaluate methods on tasks, and print the board.

    What is finished is not run again; what was interrupted goes on from its last checkpoint.
    """
    from regbench.cli.running import Order, carry_out

    order = Order(
        tasks=task,
        methods=method,
        masks=masks or [],
        data=data or [],
        protocol=protocol,
        preset=preset.value,
        steps=steps,
        budget=budget,
        refine=refine,
        seeds=seed or [0],
        settings=set_ or [],
        device=device,
        runs=runs,
        save_fields=save_fields,
        force=force,
        jobs=jobs,
        plugins=plugin or [],
    )
    raise typer.Exit(carry_out(order))
