"""`regbench masks`: make the masks of a source ahead of a run, and score them against the truth."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regbench.cli.choices import PresetChoice
from regbench.cli.options import DeviceOption, JsonOption, PluginOption, ProtocolOption, ScansOption

if TYPE_CHECKING:
    from regbench.cli.masking import Masked

masks = typer.Typer(help="Make the masks of a source ahead of a run, or score them.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A mask source; see 'regbench list masks'.")]
TaskOption = Annotated[str, typer.Option("--task", metavar="NAME", help="Whose scans.")]
PresetOption = Annotated[PresetChoice, typer.Option("--preset", help="quick: a small grid. paper: the protocol's own.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="masks.NAME, a field of the source; task.grid=96x80x128."),
]


@masks.command("make")
def make_masks(
    name: NameArgument,
    task: TaskOption,
    data: ScansOption = None,
    protocol: ProtocolOption = None,
    preset: PresetOption = PresetChoice.quick,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write them as NIfTI in their scans' geometry, too.")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Make a source's masks for all scans of a protocol and keep them in the cache, where runs find them."""
    from regbench.cli.masking import print_seen, write_to

    made = _masked(name, task, data, protocol, preset, set_, device, plugin)
    words = " ".join([f"--masks {name} --preset {preset.value}", *(f"--set {setting}" for setting in set_ or [])])
    typer.echo(f"{len(made.cohort.ids)} masks by '{name}' are in the cache; 'regbench run {words} …' takes them.")
    if out is not None:
        write_to(made, out)
        typer.echo(f"They are in {out}, too; '--masks files --set masks.folder={out}' reads them.")
    print_seen(made)


@masks.command("score")
def score_masks(
    name: NameArgument,
    task: TaskOption,
    data: ScansOption = None,
    protocol: ProtocolOption = None,
    preset: PresetOption = PresetChoice.quick,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """The row "masks alone": the Dice of each structure's mask in the test scans with its truth.

    A method that looks at masks at test has to be read beside it.
    """
    from regbench.cli.masking import as_json, print_scores
    from regbench.engine.evaluation.masks_alone import masks_alone

    made = _masked(name, task, data, protocol, preset, set_, device, plugin)
    scores = masks_alone(made.cohort)
    if json:
        typer.echo(jsonlib.dumps(as_json(made, scores), indent=2, ensure_ascii=False))
    else:
        print_scores(made, scores)


def _masked(
    name: str,
    task: str,
    data: Path | None,
    protocol: str | None,
    preset: PresetChoice,
    settings: list[str] | None,
    device: str,
    files: list[Path] | None,
) -> "Masked":
    from regbench.cli.masking import masked
    from regbench.cli.plans import Wanted
    from regbench.cli.settings import read_settings
    from regbench.engine import resolve_device

    wanted = Wanted(
        tasks=[task],
        methods=[],
        masks=[name],
        folders={} if data is None else {task: data},
        protocol=protocol,
        preset=preset.value,
        settings=read_settings(settings or [], []),
        device=resolve_device(device),
    )
    return masked(wanted, files or [])
