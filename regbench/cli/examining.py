"""What `regbench doctor` looks at."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import torch
from rich.table import Table
from rich.text import Text

from regbench import __version__
from regbench.cli.console import out
from regbench.data import cache_folder
from regbench.engine.precision import usual_precision
from regbench.registry import GROUPS, Registry
from regbench.results import Store
from regbench.results.caching import cache_entries

_LITTLE_ROOM_GIB = 5.0
_GIB = 1024**3
_GOOD_CUDNN = 91500
_SIGNS = {"good": ("ok", "green"), "note": ("note", "yellow"), "bad": ("BAD", "bold red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: it.
        state: "good"; "note": works, with a remark; "bad": something will fail.
        said: what was found, and what to do about it.
    """

    what: str
    state: Literal["good", "note", "bad"]
    said: str


def examine(runs: Path, files: Sequence[Path] = ()) -> list[Finding]:
    """Everything, in the order in which it is printed.

    Args:
        runs: the folder of all runs.
        files: plugin files.
    """
    return [
        Finding("regbench", "good", f"{__version__}, Python {platform.python_version()}, {sys.platform}"),
        _packages(),
        _device(),
        _processor(),
        *_plugins(Registry(files)),
        _cache(cache_folder()),
        _folder("runs", runs),
        _records(Store(runs)),
    ]


def _packages() -> Finding:
    names = [line.split(";")[0].strip() for line in requires("regbench") or [] if "extra ==" not in line]
    bare = ["".join(c for c in name.partition(">")[0].partition("=")[0] if c not in "[]<~! ") for name in names]
    have, lack = [], []
    for name in bare:
        try:
            have.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lack.append(name)
    if lack:
        return Finding("packages", "bad", f"not installed: {', '.join(lack)}; install regbench again with pip.")
    main = [word for word in have if word.split()[0] in ("torch", "monai", "numpy", "nibabel")]
    return Finding("packages", "good", f"{', '.join(main)} and {len(have) - len(main)} more")


def _device() -> Finding:
    if not torch.cuda.is_available():
        return Finding(
            "GPU", "note", "none that torch can use; training runs on the CPU, the quick preset is meant for it."
        )
    cards, precisions = [], set()
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        room = f"{free / _GIB:.0f} of {total / _GIB:.0f} GiB free"
        precision = usual_precision(torch.device("cuda", number))
        precisions.add(precision)
        cards.append(f"cuda:{number} {torch.cuda.get_device_name(number)}, {room}, trains in {precision}")
    said = "; ".join(cards)
    cudnn: int = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
    if "bfloat16" in precisions and cudnn < _GOOD_CUDNN:
        found = f"{cudnn // 10_000}.{cudnn // 100 % 100}"
        return Finding("GPU", "note", f"{said}; slower than need be by cuDNN {found}: such convolutions want 9.15.")
    return Finding("GPU", "good", said)


def _processor() -> Finding:
    try:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / _GIB:.0f} GiB memory"
    except (AttributeError, ValueError, OSError):  # not on every system
        memory = ""
    return Finding("CPU", "good", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads{memory}")


def _plugins(registry: Registry) -> Iterator[Finding]:
    for kind in GROUPS:
        broken = registry.broken(kind)
        if broken:
            yield Finding(f"plugins: {kind}", "bad", " ".join(broken.values()))
        else:
            yield Finding(f"plugins: {kind}", "good", ", ".join(registry.names(kind)) or "none")


def _folder(what: str, path: Path) -> Finding:
    existing = next(folder for folder in [path.absolute(), *path.absolute().parents] if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free / _GIB
    except OSError as error:
        return Finding(f"folder: {what}", "bad", f"{path} cannot be written: {error.strerror}.")
    room = f"{path}, {free:.0f} GiB free"
    return Finding(f"folder: {what}", "note" if free < _LITTLE_ROOM_GIB else "good", room)


def _cache(path: Path) -> Finding:
    found = _folder("cache", path)
    entries = cache_entries(path)
    if found.state == "bad" or not entries:
        return found
    size = sum(entry.bytes for entry in entries) / _GIB
    said = f"{found.said}; {size:.1f} GiB in {len(entries)} folders ('regbench data clean' removes what is not used)"
    return replace(found, said=said)


def _records(store: Store) -> Finding:
    listing = store.list()
    if listing.faults:
        return Finding("records", "bad", " ".join(listing.faults))
    states = [record.status for _, record in listing]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return Finding("records", "good", counts or "none yet")


def print_findings(findings: Sequence[Finding]) -> None:
    """Print them for a reader."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for finding in findings:
        table.add_row(Text(*_SIGNS[finding.state]), Text(finding.what, "bold"), Text(finding.said))
    out().print(table)
