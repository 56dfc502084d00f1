"""Several jobs at a time, each in a process of its own."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from types import FrameType
from typing import TypeVar

import torch

from regbench.engine.devices import cores

Result = TypeVar("Result")


def side_by_side(work: Callable[[int], Result], count: int, jobs: int, *, lost: Result) -> Iterator[tuple[int, Result]]:
    """Do all jobs, so many at a time; each is given back as soon as it has ended.

    A process has its share of the cores, and stands apart from the terminal: Ctrl-C reaches it by way of this one,
    once, so that it writes its checkpoint.

    Args:
        work: what is done, given a job's place; it and its results can be pickled.
        count: how many jobs there are.
        jobs: how many at a time.
        lost: the result of a job whose process was killed.

    Yields:
        A job's place and its result.
    """
    share = max(1, cores() // jobs)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(share,))
    before = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        places = {pool.submit(work, place): place for place in range(count)}
        for future in as_completed(places):
            try:
                result = future.result()
            except BrokenProcessPool:
                result = lost
            yield places[future], result
    except BaseException:
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, before)


def _begin(threads: int) -> None:
    os.setsid()
    torch.set_num_threads(threads)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
