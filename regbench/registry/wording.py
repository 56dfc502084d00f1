"""The type of a field in words that need no Python."""

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "file or folder",
    type(None): "none",
    Any: "anything",
}
_LIMITS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "at least {} of them",
    "max_length": "at most {} of them",
}


def type_words(annotation: Any) -> str:
    """An annotation as a reader of a command line understands it.

    >>> from annotated_types import Ge, Le
    >>> type_words(Annotated[int, Ge(1), Le(4)]), type_words(Path | None), type_words(Literal["l2r", "strict"])
    ('integer, at least 1, at most 4', 'file or folder, or none', 'l2r or strict')
    >>> type_words(tuple[int, ...]), type_words(tuple[float, float, float]), type_words(Mapping[str, float])
    ('list of: integer', 'list of 3: number', 'pairs of text: number')
    """
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return ", ".join([type_words(parts[0]), *_limits(parts[1:])])
    if kind is Literal:
        return " or ".join(str(part) for part in parts)
    if kind in (Union, types.UnionType):
        return ", or ".join(type_words(part) for part in parts)
    if kind is tuple and parts[-1] is not ...:
        same = f"{len(parts)}: {type_words(parts[0])}" if len(set(parts)) == 1 else ""
        return f"list of {same or ': '.join([str(len(parts)), ', '.join(type_words(part) for part in parts)])}"
    if isinstance(kind, type) and issubclass(kind, Mapping) and parts:
        return f"pairs of {type_words(parts[0])}: {type_words(parts[1])}"
    if isinstance(kind, type) and issubclass(kind, Sequence | set | frozenset) and parts:
        return f"list of: {type_words(parts[0])}"
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return _WORDS.get(annotation) or re.sub(r"\b(?:\w+\.)+(?=\w)", "", name)


def _limits(metadata: Iterable[Any]) -> list[str]:
    """The limits among what annotates a type: those of annotated-types, and pydantic's, which hold them."""
    found = [each for one in metadata for each in getattr(one, "metadata", [one])]
    return [
        words.format(value)
        for one in found
        for name, words in _LIMITS.items()
        if (value := getattr(one, name, None)) is not None
    ]
