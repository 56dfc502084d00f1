"""The two consoles: what was asked for goes to stdout, everything else to stderr."""

from rich.console import Console

PLAIN_WIDTH = 100


def out() -> Console:
    """Stdout; without colour, and 100 characters wide, where it is no terminal."""
    return _console(stderr=False)


def err() -> Console:
    """Stderr, likewise."""
    return _console(stderr=True)


def tell(line: str) -> None:
    """A line of what is at work, on stdout."""
    out().print(line, style="dim", markup=False, soft_wrap=True)


def remark(line: str) -> None:
    """A line beside what was asked for, on stderr."""
    err().print(line, style="dim", markup=False, soft_wrap=True)


def warn(sentence: str) -> None:
    """What the user should know and did not ask for, on stderr."""
    err().print(sentence, style="yellow", markup=False, soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)
