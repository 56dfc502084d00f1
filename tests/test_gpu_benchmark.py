"""What `python -m benchmarks.gpu` finds equal on two devices is equal on one."""

from itertools import count

import pytest
import torch

from benchmarks.gpu import furthest_from_cpu
from regbench.api import Batch, Trainable
from regbench_baselines.transmatch import TransMatch
from regbench_methods.ours import Ours

SMALL = {"channels": (4, 4, 4, 8), "finest": 4}


@pytest.mark.parametrize("method", [TransMatch(channels=12), Ours(**SMALL)])  # type: ignore[arg-type]
def test_what_is_drawn_makes_no_difference(method: Trainable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device draws other numbers."""
    seeds = count()
    monkeypatch.setattr(Batch, "generator", lambda batch: torch.Generator().manual_seed(next(seeds)))
    assert furthest_from_cpu(method, torch.device("cpu")) == 0
