"""Several jobs at a time, each in a process of its own."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from threading import Thread
from types import FrameType
from typing import TypeVar

import torch

from regbench.engine.devices import cores

Result = TypeVar("Result")


def side_by_side(work: Callable[[int], Result], count: int, jobs: int, *, lost: Result) -> Iterator[tuple[int, Result]]:
    """Do all jobs, so many at a time; each is given back as soon as it has ended.

    A process has its share of the cores, and stands apart from the terminal: Ctrl-C reaches it by way of this one,
    once, so that it writes its checkpoint; a second one stops it at once. Where this one is killed, the others write
    theirs and end as well.

    Args:
        work: what is done, given a job's place; it and its results can be pickled.
        count: how many jobs there are.
        jobs: how many at a time.
        lost: the result of a job whose process was killed.

    Yields:
        A job's place and its result.
    """
    setting = (max(1, cores() // jobs),)
    process = partial(ProcessPoolExecutor, 1, get_context("spawn"), initializer=_begin, initargs=setting)
    left, idle = deque(range(count)), [process() for _ in range(jobs)]
    busy: dict[Future[Result], tuple[int, ProcessPoolExecutor]] = {}
    before = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        while left or busy:
            while left and idle:
                place, one = left.popleft(), idle.pop()
                busy[_submit(one, work, place)] = place, one
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                place, one = busy.pop(future)
                killed = isinstance(future.exception(), BrokenProcessPool)
                idle.append(process() if killed else one)
                yield place, lost if killed else future.result()
    except BaseException:
        for child in active_children():
            child.terminate()
        raise
    finally:
        try:
            for one in [*idle, *(one for _, one in busy.values())]:
                one.shutdown()
        except BaseException:
            for child in active_children():
                child.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _submit(pool: ProcessPoolExecutor, work: Callable[[int], Result], place: int) -> Future[Result]:
    """A process begins deaf to Ctrl-C, which a terminal sends to all: in the middle of its imports it would say so."""
    resource_tracker.ensure_running()  # the first time, it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_do, work, place)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    os.setsid()
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _do(work: Callable[[int], Result], place: int) -> Result:
    try:
        return work(place)
    except KeyboardInterrupt:
        os._exit(1)  # its checkpoint is written, and nobody waits for more


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
