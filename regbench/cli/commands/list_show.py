"""`regbench list` and `regbench show`: what there is, and one plugin in full."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regbench.cli.choices import KindChoice
from regbench.cli.options import JsonOption, PluginOption

if TYPE_CHECKING:
    from regbench.registry import Kind, Registry

_KINDS: "dict[KindChoice, Kind]" = {
    KindChoice.tasks: "task",
    KindChoice.methods: "method",
    KindChoice.metrics: "metric",
    KindChoice.masks: "masks",
}

show = typer.Typer(help="Show one plugin in full: its card and its fields.", no_args_is_help=True)


def list_plugins(
    kind: Annotated[KindChoice | None, typer.Argument(metavar="KIND", help="All of them by name if left out.")] = None,
    json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """List the tasks, methods, metrics or mask sources that are installed."""
    from regbench.registry import Registry

    registry = Registry(plugin or [])
    if kind is None:
        names = {each.value: registry.names(_KINDS[each]) for each in KindChoice}
        typer.echo(jsonlib.dumps(names, indent=2) if json else _overview(names))
        return
    entries = [_entry(registry, _KINDS[kind], name) for name in registry.names(_KINDS[kind])]
    if json:
        typer.echo(jsonlib.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _print_entries(kind, entries)


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


def _print_entries(kind: KindChoice, entries: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from regbench.cli.console import out

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head in (kind.value.removesuffix("s").capitalize(), "Title", "What it is", "From"):
        table.add_column(head, no_wrap=head in ("Method", "Title"))
    for entry in entries:
        if "broken" not in entry:
            table.add_row(entry["name"], entry["title"], entry["summary"], Text(entry["from"], "dim"))
    out().print(table)
    for entry in entries:
        if "broken" in entry:
            out().print(f"broken: {entry['broken']}", style="red", markup=False)


def _show(kind: "Kind", name: str, json: bool, files: Any) -> None:
    from regbench.cli.showing import facts, print_facts
    from regbench.registry import Registry

    found = facts(Registry(files or []), kind, name)
    if json:
        typer.echo(jsonlib.dumps(found, indent=2, ensure_ascii=False))
    else:
        print_facts(found)


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="See 'regbench list'.")]


@show.command("task")
def show_task(name: NameArgument, json: JsonOption = False, plugin: PluginOption = None) -> None:
    """A task with its protocols."""
    _show("task", name, json, plugin)


@show.command("method")
def show_method(name: NameArgument, json: JsonOption = False, plugin: PluginOption = None) -> None:
    """A method with its fields and its recipe."""
    _show("method", name, json, plugin)


@show.command("metric")
def show_metric(name: NameArgument, json: JsonOption = False, plugin: PluginOption = None) -> None:
    """A metric with its unit and direction."""
    _show("metric", name, json, plugin)


@show.command("masks")
def show_masks(name: NameArgument, json: JsonOption = False, plugin: PluginOption = None) -> None:
    """A mask source with what it has seen."""
    _show("masks", name, json, plugin)
