"""`regbench leaderboard`: boards from the records on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regbench.cli.choices import FormatChoice, RankingChoice
from regbench.cli.options import DEFAULT_RUNS, PluginOption, RunsOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regbench.leaderboard import Board

TaskOption = Annotated[
    list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task; may be repeated.")
]
RankingOption = Annotated[
    RankingChoice, typer.Option("--ranking", help="Paired tests against the best row, or as Learn2Reg ranks.")
]
PublishedOption = Annotated[bool, typer.Option("--published/--no-published", help="Published numbers beside.")]


def leaderboard(
    task: TaskOption = None,
    format_: Annotated[
        FormatChoice, typer.Option("--format", help="csv and json hold all; html is the page of 'regbench report'.")
    ] = FormatChoice.table,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to a file instead; html: or to a folder.")
    ] = None,
    ranking: RankingOption = RankingChoice.paired,
    ablation: Annotated[
        str | None, typer.Option("--ablation", metavar="METHOD", help="Only this method, part by part switched off.")
    ] = None,
    published: PublishedOption = True,
    runs: RunsOption = DEFAULT_RUNS,
    plugin: PluginOption = None,
) -> None:
    """Print the boards of all runs: one for each task, set of scans, protocol and grid."""
    from regbench.cli.console import PLAIN_WIDTH, err
    from regbench.cli.console import out as stdout
    from regbench.data import write_text
    from regbench.leaderboard import Format, render, renderable

    form: Format | Literal["html"] = "json" if json else format_.value
    runs, made = (runs, read_boards(runs, task)) if form in {"csv", "json"} else read_or_released(runs, task)
    if not made and form == "table":
        typer.echo(f"There are no runs in '{runs}' yet; 'regbench run --task abdomen --method voxelmorph' makes some.")
        return
    if ablation is not None:
        made = _with_ablations(made, ablation)
    if form == "html":
        _page(made, out, ranking, runs, plugin or [], published=published, is_ablation=ablation is not None)
    elif form == "table" and out is None:
        for board in made:
            stdout().print(renderable(board, ranking=ranking.value, published=published, ablation=ablation), "")
    else:
        text = render(made, form, ranking=ranking.value, published=published, ablation=ablation, width=PLAIN_WIDTH)
        if out is None:
            typer.echo(text.rstrip("\n"))
        else:
            write_text(out, text)
            err().print(f"Written to {out}.", markup=False)


def read_or_released(runs: Path, task: "Sequence[str] | None") -> "tuple[Path, list[Board]]":
    """The boards of a folder of runs, or those that came with regbench where nothing was run yet; and their folder."""
    from regbench.cli.console import remark
    from regbench_leaderboards import measured_runs

    made = read_boards(runs, task)
    released = read_boards(measured_runs(), task) if not made and runs == DEFAULT_RUNS else []
    if not released:
        return runs, made
    remark(f"There are no runs in '{DEFAULT_RUNS}' yet; these came with regbench.")
    return measured_runs(), released


def read_boards(runs: Path, task: "Sequence[str] | None") -> "list[Board]":
    """The boards of a folder of runs; what cannot be read is said on stderr.

    Args:
        runs: the folder.
        task: only these tasks; None for all.

    Raises:
        UnknownNameError: for a task without a run, where there are others.
    """
    from regbench.cli.console import warn
    from regbench.errors import UnknownNameError
    from regbench.leaderboard import boards, measured
    from regbench.results import Store

    found, faults = measured(Store(runs))
    for fault in faults:
        warn(fault)
    tasks = {run.record.task for run in found}
    for name in task or []:
        if tasks and name not in tasks:
            raise UnknownNameError("run of the task", name, tasks)
    return [board for board in boards(found) if not task or board.task in task]


def _with_ablations(made: "list[Board]", method: str) -> "list[Board]":
    from regbench.errors import BadValueError, UnknownNameError
    from regbench.leaderboard.views.ablation import ablations

    methods = {row.record.method.name for board in made for row in board.rows}
    if method not in methods:
        raise UnknownNameError("run of the method", method, methods)
    found = [board for board in made if ablations(board, method)]
    if not found:
        raise BadValueError(
            f"There are no two runs of {method} that differ only in what is switched on; make another one with "
            f"'regbench run --method {method} --set FIELD=false' ('regbench show method {method}' lists the fields)."
        )
    return found


def _page(
    made: "list[Board]",
    out: Path | None,
    ranking: RankingChoice,
    runs: Path,
    plugins: "Sequence[Path]",
    *,
    published: bool,
    is_ablation: bool,
) -> None:
    from regbench.cli.console import err, remark
    from regbench.errors import BadValueError
    from regbench.registry import Registry
    from regbench.report import report, write_page
    from regbench.results import Store

    if is_ablation:
        raise BadValueError(
            "The page shows the ablations of every method by itself; use --ablation with table, md or latex."
        )
    text = report(made, Store(runs), Registry(plugins), ranking=ranking.value, published=published, told=remark)
    if out is None:
        typer.echo(text)
    else:
        err().print(f"Written to {write_page(text, out)}.", markup=False, soft_wrap=True)
