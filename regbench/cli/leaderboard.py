"""`regbench leaderboard`: boards from the records on disk."""

from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.choices import FormatChoice, RankingChoice
from regbench.cli.run import DEFAULT_RUNS, RunsOption


def leaderboard(
    task: Annotated[list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task.")] = None,
    format_: Annotated[FormatChoice, typer.Option("--format", help="csv and json hold all.")] = FormatChoice.table,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to a file instead.")] = None,
    ranking: Annotated[
        RankingChoice, typer.Option("--ranking", help="Paired tests against the best row, or as Learn2Reg ranks.")
    ] = RankingChoice.paired,
    published: Annotated[bool, typer.Option("--published/--no-published", help="Published numbers beside.")] = True,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Print the boards of all runs: one for each task, set of scans, protocol and grid."""
    from regbench.cli.console import PLAIN_WIDTH, err
    from regbench.cli.console import out as stdout
    from regbench.data import write_text
    from regbench.leaderboard import Format, boards, measured, render, renderable
    from regbench.results import Store

    form: Format = "json" if json else format_.value
    found, faults = measured(Store(runs))
    made = boards(run for run in found if not task or run.record.task in task)
    for fault in faults:
        err().print(fault, style="yellow", markup=False, soft_wrap=True)
    if not made and form == "table":
        _explain_nothing(task, runs, [run.record.task for run in found])
    elif out is not None:
        text = render(made, form, ranking=ranking.value, published=published, width=PLAIN_WIDTH)
        write_text(out, text)
        err().print(f"Written to {out}.", markup=False)
    elif form == "table":
        for board in made:
            stdout().print(renderable(board, ranking=ranking.value, published=published), "")
    else:
        typer.echo(render(made, form, ranking=ranking.value, published=published).rstrip("\n"))


def _explain_nothing(task: list[str] | None, runs: Path, tasks: list[str]) -> None:
    from regbench.errors import UnknownNameError

    if task and tasks:
        raise UnknownNameError("run of the task", task[0], set(tasks))
    typer.echo(f"There are no runs in '{runs}' yet; 'regbench run --task abdomen --method voxelmorph' makes some.")
