"""What only a GPU can show."""

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from regbench.api import Silent
from regbench.data import Cohort
from regbench.engine import Course, Plan, fit, new_network, run
from regbench.engine.training.sampler import Sampler
from regbench.results import RunFolder, Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
STEPS = 64


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", 0)


def test_the_host_hardly_ever_waits_for_the_device(
    gpu: torch.device, toy_cohort: Cohort, toys: ModuleType, store: Store
) -> None:
    """At every step the host only queues work; it waits once in sixteen steps, and to validate and write."""
    cohort = toy_cohort.to(gpu)
    method = toys.ToyMethod()
    network = new_network(method, cohort.setting, cohort.device, 0)
    recipe = method.training("quick")
    sampler = Sampler.of(recipe, cohort.protocol.train_pairs, 0)
    course = Course(
        weights=recipe.weights, optimisation=recipe.optimisation, steps=STEPS, device=gpu, precision="bfloat16"
    )

    def losses(step: int) -> dict[str, torch.Tensor]:
        draw = sampler.draw(step)
        batch = cohort.batch(draw.pairs, draw.seed)
        u = method.displacement(network, batch)
        return {"similarity": (toys.warp(batch.moving, u) - batch.fixed).square().mean(), "smooth": u.square().mean()}

    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            fit(network, losses, course, RunFolder(store.root / "x"), Silent())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tensors = len(network.state_dict()) * 4
    assert len(waits) < STEPS // 16 + 2 * tensors + 8


def test_a_whole_run(gpu: torch.device, make_plan: Callable[..., Plan], store: Store) -> None:
    record = run(make_plan(device=gpu, precision="bfloat16"), store)
    assert record.status == "done"
    assert record.machine.accelerator == torch.cuda.get_device_name(gpu)
    assert record.cost.peak_memory_mib is not None
    assert record.cost.peak_memory_mib < 100
