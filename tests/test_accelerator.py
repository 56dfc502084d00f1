"""Every trainable method on a device that is not the CPU: nothing mixes, and the numbers are the same.

Torch makes room for the gradients of its devices once in a process, so that the device is tried in one of its own.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from benchmarks.placement import try_method, try_the_device, try_the_overlap
from regbench.api import Trainable
from regbench.registry import Registry

SHAPE = (16, 24, 18)


def trainable() -> list[str]:
    registry = Registry()
    return [name for name in registry.names("method") if issubclass(registry.load("method", name), Trainable)]


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_tensors_of_two_devices_do_not_mix(fresh_process: ProcessPoolExecutor) -> None:
    fresh_process.submit(try_the_device).result()


def test_the_overlap_of_masks_makes_the_host_wait_once_a_pair(fresh_process: ProcessPoolExecutor) -> None:
    fresh_process.submit(try_the_overlap).result()


@pytest.mark.parametrize("name", trainable())
def test_a_step_and_a_prediction(fresh_process: ProcessPoolExecutor, name: str) -> None:
    fresh_process.submit(try_method, name, SHAPE).result()
