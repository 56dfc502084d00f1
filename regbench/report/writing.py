"""From a store to the page on disk."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from regbench.data import write_text
from regbench.errors import BadValueError
from regbench.leaderboard import Board, Ranking
from regbench.registry import Registry
from regbench.report.page import page
from regbench.report.pictures.side_by_side import Gallery, Sources, gallery
from regbench.results import Store

_PAGE = "index.html"


def report(
    boards: Sequence[Board],
    store: Store,
    registry: Registry,
    *,
    data: Mapping[str, Path] | None = None,
    device: torch.device | None = None,
    cache: Path | None = None,
    pictures: bool = True,
    ranking: Ranking = "paired",
    published: bool = True,
    told: Callable[[str], None] = lambda _: None,
) -> str:
    """The page of some boards, with pictures of the runs that can be opened again.

    Args:
        boards: what it shows.
        store: where the runs are kept.
        registry: of what is installed.
        data: task → folder of its real scans; without it, rows on real scans have no pictures.
        device: where pairs are registered for the pictures; None: on the kind of device that a row was made on.
        cache: of prepared cohorts; None: the user's cache folder.
        pictures: whether pictures are made at all.
        ranking: how rows are told apart.
        published: whether published numbers follow.
        told: is called with a sentence for what takes time.
    """
    folders = {record.run_id: folder for folder, record in store.list()}
    sources = Sources(folders=folders, registry=registry, data=data or {}, device=device, cache=cache, told=told)

    def draw(board: Board, place: int) -> Gallery:
        return gallery(board, sources, f"g{place}")

    return page(boards, folders, draw if pictures else None, ranking=ranking, published=published)


def write_page(text: str, out: Path) -> Path:
    """Write a page into a folder, as index.html, or under a name that ends in .html; returns the file.

    Raises:
        BadValueError: where the folder's name is a file's.
        StorageError: where it cannot be written.
    """
    if out.suffix.lower() in (".html", ".htm"):
        file = out
    elif out.is_file():
        raise BadValueError(f"{out} is a file; --out takes a folder, or a file's name that ends in .html.")
    else:
        file = out / _PAGE
    write_text(file, text)
    return file
