"""`regbench list` and `regbench show`: what there is, and one plugin in full."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regbench.cli.choices import KindsChoice
from regbench.cli.options import JsonOption, KindArgument, PluginArgument, PluginOption

if TYPE_CHECKING:
    from regbench.registry import Kind, Registry


def list_plugins(
    kind: Annotated[KindsChoice | None, typer.Argument(metavar="KIND", help="All of them by name if left out.")] = None,
    json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """List the tasks, methods, metrics or mask sources that are installed."""
    from regbench.registry import Registry

    registry = Registry(plugin or [])
    if kind is None:
        names = {each.value: registry.names(each.kind.value) for each in KindsChoice}
        typer.echo(jsonlib.dumps(names, indent=2) if json else _overview(names))
        return
    one: Kind = kind.kind.value
    entries = [_entry(registry, one, name) for name in registry.names(one)]
    if json:
        typer.echo(jsonlib.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _print_entries(one, entries)


def _overview(names: dict[str, list[str]]) -> str:
    width = max(len(kind) for kind in names)
    lines = [f"{kind:<{width}}  {', '.join(found)}" for kind, found in names.items()]
    return "\n".join([*lines, "", "'regbench list methods' says more, 'regbench show method NAME' says all."])


def _entry(registry: "Registry", kind: "Kind", name: str) -> dict[str, Any]:
    from regbench.errors import PluginError

    try:
        plugin = registry.plugin(kind, name)
        card = plugin.load().card
    except PluginError as error:
        return {"name": name, "broken": str(error)}
    owner = f"{plugin.distribution} {plugin.version}".strip()
    return {"name": name, "title": card.title, "summary": card.summary, "from": owner}


def _print_entries(kind: "Kind", entries: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from regbench.cli.console import out
    from regbench.registry import NOUNS

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head in (NOUNS[kind].capitalize(), "Title", "What it is", "From"):
        table.add_column(head, no_wrap=head in ("Method", "Title"))
    for entry in entries:
        if "broken" not in entry:
            table.add_row(entry["name"], entry["title"], entry["summary"], Text(entry["from"], "dim"))
    out().print(table)
    for entry in entries:
        if "broken" in entry:
            out().print(f"broken: {entry['broken']}", style="red", markup=False)


def show(kind: KindArgument, name: PluginArgument, json: JsonOption = False, plugin: PluginOption = None) -> None:
    """Show one plugin in full: its card and its fields.

    Of a task: its protocols. Of a method: its recipe. Of a metric: its unit and direction.

    Of a mask source: what it has seen.
    """
    from regbench.cli.showing import facts, print_facts
    from regbench.registry import Registry

    found = facts(Registry(plugin or []), kind.value, name)
    if json:
        typer.echo(jsonlib.dumps(found, indent=2, ensure_ascii=False))
    else:
        print_facts(found)
