"""Ctrl-C, taken at the end of a step instead of in its middle."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_USUAL: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,  # of a terminal that is closed
}


class Interruption:
    """Whether somebody wants the work to stop."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[signal.Signals, Any] = {}

    def watch(self) -> None:
        """Take the signals, where nobody else does; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, usual in _USUAL.items():
            if signal.getsignal(number) is usual:
                self._before[number] = signal.signal(number, self._take)

    def release(self) -> None:
        """Give the signals back."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what a handler is given
        self.wanted = True
        self.release()  # a second signal stops at once


@contextmanager
def interruption() -> Iterator[Interruption]:
    """While the block lasts, the first Ctrl-C (or SIGTERM, SIGHUP) only says so; a second one acts as usual."""
    watcher = Interruption()
    watcher.watch()
    try:
        yield watcher
    finally:
        watcher.release()
