"""`regbench doctor`: is everything here that is needed?"""

import json as jsonlib

import typer

from regbench.cli.options import DEFAULT_RUNS, JsonOption, PluginOption, RunsOption


def doctor(
    json: JsonOption = False,
    runs: RunsOption = DEFAULT_RUNS,
    plugin: PluginOption = None,
) -> None:
    """Look at the installation, the machine, the plugins and the folders."""
    from dataclasses import asdict

    from regbench.cli.errors import FAILED
    from regbench.cli.examining import examine, print_findings

    findings = examine(runs, plugin or [])
    if json:
        typer.echo(jsonlib.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print_findings(findings)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(FAILED)
