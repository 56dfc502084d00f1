"""`regbench report`: one page with boards, plots, statistics and pictures."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import RankingChoice
from regbench.cli.commands.leaderboard import PublishedOption, RankingOption, TaskOption, read_or_released
from regbench.cli.options import DEFAULT_RUNS, PluginOption, RunDeviceOption, RunsOption


def report(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder for index.html, or a name that ends in .html.")
    ] = Path("report"),
    task: TaskOption = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="[TASK=]DIR", help="The real scans, for pictures of the rows on them."),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Register one pair again with every row, and draw it.")
    ] = True,
    ranking: RankingOption = RankingChoice.paired,
    published: PublishedOption = True,
    device: RunDeviceOption = None,
    runs: RunsOption = DEFAULT_RUNS,
    plugin: PluginOption = None,
) -> None:
    """Write one page that shows everything about the runs; it needs no network and can be sent by mail.

    Boards that sort, box plots, accuracy against time and folding, a critical-difference diagram, training curves.

    Also the worst cases, how each row was made, and one pair as every row registers it.
    """
    from regbench.cli.console import err, remark
    from regbench.cli.settings import read_folders
    from regbench.engine import asked_device
    from regbench.errors import BadValueError
    from regbench.registry import Registry
    from regbench.report import report as make
    from regbench.report import write_page
    from regbench.results import Store

    asked, (runs, made) = runs, read_or_released(runs, task)
    if not made:
        raise BadValueError(
            f"There are no runs in '{runs}' to report on; 'regbench run --task abdomen --method voxelmorph' makes some."
        )
    folders = read_folders(data or [], list(dict.fromkeys(board.task for board in made)))
    missing = [str(folder) for folder in folders.values() if not folder.is_dir()]
    if missing:
        raise BadValueError(f"--data names no folder: {', '.join(missing)}.")
    text = make(
        made,
        Store(runs),
        Registry(plugin or []),
        data=folders,
        device=asked_device(device),
        pictures=pictures and runs == asked,  # those that came with regbench have no weights
        ranking=ranking.value,
        published=published,
        told=remark,
    )
    written = write_page(text, out)
    err().print(f"Written to {written}.", markup=False, soft_wrap=True)
