"""The two consoles: what was asked for goes to stdout, everything else to stderr."""

from rich.console import Console

PLAIN_WIDTH = 100


def out() -> Console:
    """Stdout; without colour, and 100 characters wide, where it is no terminal."""
    return _console(stderr=False)


def err() -> Console:
    """Stderr, likewise."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)
