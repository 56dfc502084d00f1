"""Several runs at a time, each in a process of its own."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from types import FrameType
from typing import TYPE_CHECKING

import torch

from regbench.engine import run as run_plan
from regbench.engine.devices import cores
from regbench.errors import RequestError, RunError
from regbench.results import RunRecord, Store

if TYPE_CHECKING:
    from regbench.cli.running import Order


@dataclass(frozen=True)
class Ended:
    """What came of a run.

    Attributes:
        record: its record; None where there is none.
        sentence: why there is none.
        wrong_request: it could not even be begun.
    """

    record: RunRecord | None
    sentence: str = ""
    wrong_request: bool = False


def side_by_side(order: "Order", task: str, count: int, jobs: int) -> Iterator[tuple[int, Ended]]:
    """Run all plans of a task, so many at a time; each as soon as it has ended.

    A process has its share of the cores, and stands apart from the terminal: Ctrl-C reaches it by way of this one,
    once, so that it writes its checkpoint.

    Args:
        order: what was asked for.
        task: its name.
        count: how many plans it has.
        jobs: how many run at a time.

    Yields:
        The plan's place among those of the task, and what came of it.
    """
    share = max(1, cores() // jobs)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(share,))
    before = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        places = {pool.submit(run_one, order, task, place): place for place in range(count)}
        for future in as_completed(places):
            try:
                ended = future.result()
            except BrokenProcessPool:
                ended = Ended(None, "The process that ran it was killed, perhaps for its memory; try --jobs 1.")
            yield places[future], ended
    except BaseException:
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, before)


def run_one(order: "Order", task: str, place: int) -> Ended:
    """Run one plan of an order, without showing how far it has come."""
    from regbench.cli.running import plans_of

    try:
        return Ended(run_plan(plans_of(order, task)[place], Store(order.runs), force=order.force))
    except (RequestError, RunError) as error:
        return Ended(None, str(error), isinstance(error, RequestError))


def _begin(threads: int) -> None:
    os.setsid()
    torch.set_num_threads(threads)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
