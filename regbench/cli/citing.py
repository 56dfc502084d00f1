"""Which works a run stands on."""

import re
from collections.abc import Iterable, Iterator

from regbench.errors import RequestError
from regbench.registry import Kind, Registry
from regbench.results import RunRecord


def citations(records: Iterable[RunRecord], registry: Registry) -> list[str]:
    """The BibTeX entries of some runs' methods, tasks and mask sources, each once, by key.

    Methods are cited as their records say; tasks and mask sources by the cards of what is installed.
    """
    entries: dict[str, str] = {}
    for record in records:
        for text in _texts(record, registry):
            entries |= {_key(entry): entry for entry in _entries(text)}
    return [entries[key] for key in sorted(entries)] or ["% There is nothing to cite."]


def _texts(record: RunRecord, registry: Registry) -> Iterator[str]:
    yield record.method.citation
    yield _card_citation(registry, "task", record.task)
    if record.masks:
        yield _card_citation(registry, "masks", record.masks.name)


def _card_citation(registry: Registry, kind: Kind, name: str) -> str:
    try:
        citation: str = registry.load(kind, name).card.citation
    except RequestError as error:
        return f"% {error}"
    return citation


def _entries(text: str) -> list[str]:
    """The entries of a BibTeX text, which each begin with an @ at the start of a line; comments by themselves."""
    return [part.strip() for part in re.split(r"^(?=@|%)", text, flags=re.MULTILINE) if part.strip()]


def _key(entry: str) -> str:
    match = re.match(r"@\w+\s*\{\s*([^,\s]+)", entry)
    return match[1] if match else entry
