"""The same work on every file, on all cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_MOST = 8  # beyond it the disk is what is waited for, and each thread holds a volume


def every(work: Callable[[A], B], items: Sequence[A], done: Callable[[int, int], None] | None = None) -> list[B]:
    """`work` of every item, in order; inflating, hashing and arithmetic run side by side in threads.

    Args:
        work: may raise; what it raises first is raised here, and items not yet begun are left out.
        items: what to work on.
        done: called in this thread with how many of how many are finished.
    """
    results = []
    with ThreadPoolExecutor(min(_MOST, os.cpu_count() or 1)) as pool:
        try:
            for number, result in enumerate(pool.map(work, items), start=1):
                results.append(result)
                if done is not None:
                    done(number, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
