"""The toy cohorts that other rooms' tests stand on."""

from pathlib import Path

import torch

from regbench.api import Protocol, Task
from regbench.data import Cohort, load_cohort


def test_the_toy_cohort_on_disk_is_the_one_in_memory(
    toy_cohort: Cohort, toy_task: Task, toy_folder: Path, toy_protocol: Protocol
) -> None:
    loaded = load_cohort(toy_task, toy_folder, toy_protocol)
    assert loaded.ids == toy_cohort.ids
    assert torch.equal(loaded.labels, toy_cohort.labels)
    torch.testing.assert_close(loaded.images, toy_cohort.images, atol=2e-5, rtol=0)
    pair = toy_protocol.test_pairs[0]
    torch.testing.assert_close(
        loaded.truth(pair).landmarks.fixed, toy_cohort.truth(pair).landmarks.fixed, atol=1e-4, rtol=0
    )
