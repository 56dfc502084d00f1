"""How errors reach the user: one or two sentences on stderr, and an exit status."""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from regbench.errors import RegbenchError, RequestError, lacks_memory

OK, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
DEBUG = "--debug"

# Typer brings its own copy of click or uses the installed one; this is the class that both agree on.
_UsageError: Any = typer.BadParameter.__bases__[0]


class Commands(TyperGroup):
    """The root group: the only place where an exception becomes a message and a status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command.

        Args:
            args: the words after the program's name; `--debug` may stand anywhere among them. None: the help.
            prog_name: see click, as for the others.
            complete_var: of the shell completion.
            standalone_mode: exit with the status, or return it.
            windows_expand_args: expand patterns on Windows.
            extra: for the context.
        """
        given = list(sys.argv[1:] if args is None else args)
        debug = DEBUG in given
        words = [word for word in given if word != DEBUG] or ["--help"]
        try:
            status = super().main(words, prog_name, complete_var, False, windows_expand_args, **extra) or OK
        except BaseException as error:
            status = _status(error)
            if status is None or (debug and isinstance(error, SystemExit)):
                raise
            if debug:
                traceback.print_exception(error)
            for sentence in _sentences(error, debug=debug):
                typer.echo(sentence, err=True)
        if standalone_mode:
            sys.exit(status)
        return status


def _status(error: BaseException) -> int | None:
    """The exit status that an exception stands for; None for one that is not ours to handle."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    if isinstance(error, RequestError | _UsageError):
        return WRONG_REQUEST
    return FAILED if isinstance(error, Exception) else None


def _sentences(error: BaseException, *, debug: bool) -> list[str]:
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return ["Interrupted."]
    if isinstance(error, RegbenchError):
        return [str(error)]
    if lacks_memory(error):
        return [f"The memory is not enough; try a smaller grid. {error}".strip()]
    if isinstance(error, _UsageError):
        command = error.ctx.command_path if error.ctx else "regbench"
        said = error.format_message().replace("Value error, ", "")  # which is pydantic's, by way of some typers
        return [said, f"See '{command} --help'."] if said else []  # a group without a command has printed its help
    if isinstance(error, OSError) and error.filename is not None and not debug:
        return [f"{error.filename} cannot be used: {error.strerror}; choose another, or see where with --debug."]
    what = f"Something went wrong that should not have: {type(error).__name__}: {error}".rstrip(": ")
    return [what if debug else f"{what}; run again with --debug to see where."]
