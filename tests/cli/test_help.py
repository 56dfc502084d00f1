"""Every command's help says what was written for it, at any width."""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import pytest
from typer.main import get_command

from regbench.cli import app


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, *path, name)


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_no_word_of_a_help_is_taken_for_markup(call, path: tuple[str, ...]) -> None:
    said = "".join(call(*path, "--help").stdout.replace("│", " ").split())
    assert "......" not in said
    for param in ALL[path].params:
        assert param.help, (path, param.name)
        for word in param.help.split():
            assert word in said, (path, param.name)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_a_paragraph_is_one_line_which_the_terminal_breaks(path: tuple[str, ...]) -> None:
    _, *paragraphs = cleandoc(ALL[path].help).split("\n\n")
    assert not [text for text in paragraphs if "\n" in text]
