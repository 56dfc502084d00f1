"""What plugins do to what they are given reaches nobody else."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from regbench.api import Case, Field, MaskRequest, Metric, Pair, Silent, Volume
from regbench.data import Cohort
from regbench.engine import Plan, evaluate, new_network, run
from regbench.engine.apart import own_settings
from regbench.engine.masks import mask_request
from regbench.engine.training.train import mean_dsc
from regbench.errors import RunError
from regbench.results import Store


def content(cohort: Cohort) -> list[torch.Tensor]:
    assert cohort.labels is not None
    affines = [torch.tensor(grid.affine) for grid in cohort.grids]
    return [cohort.images.clone(), cohort.labels.clone(), *affines]


def same(cohort: Cohort, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(*both) for both in zip(content(cohort), before, strict=True))


def test_a_method_that_writes_to_its_pair_changes_no_other(toy_cohort: Cohort, toys: ModuleType) -> None:
    before = content(toy_cohort)

    class Writes(toys.Shift):  # type: ignore[name-defined, misc]
        def skip(self, pair: Pair) -> str | None:
            pair.fixed.data.zero_()
            return None

        def register(self, pair: Pair) -> Field:
            assert all(scan.data.any() for scan in (pair.fixed, pair.moving)), "each is seen by both pairs"
            pair.fixed.data.zero_()
            pair.moving.data.zero_()
            found: Field = super().register(pair)
            return found

    evaluate(Writes(), Writes().register, toy_cohort, {"dsc": toys.Overlap()}, Silent())
    assert same(toy_cohort, before)


def test_a_method_that_writes_to_its_pair_in_a_validation_changes_no_other(
    toy_cohort: Cohort, toys: ModuleType
) -> None:
    class Writes(toys.ToyMethod):  # type: ignore[name-defined, misc]
        def predict(self, network: nn.Module, pair: Pair) -> Field:
            found: Field = super().predict(network, pair)
            pair.fixed.data.zero_()
            pair.grid.affine[...] = 0
            return found

    before = content(toy_cohort)
    network = new_network(Writes(), toy_cohort.setting, toy_cohort.device, 0)
    mean_dsc(Writes(), network, toy_cohort, toy_cohort.protocol.validation_pairs[0])
    assert same(toy_cohort, before)


def test_a_method_that_shrinks_the_voxels_is_not_scored_by_them(toy_cohort: Cohort, toys: ModuleType) -> None:
    class Shrinks(toys.Shift):  # type: ignore[name-defined, misc]
        def register(self, pair: Pair) -> Field:
            pair.grid.affine[...] *= 0.1
            found: Field = super().register(pair)
            return found

    before = content(toy_cohort)
    with pytest.raises(RunError, match="is on another grid"):
        evaluate(Shrinks(), Shrinks().register, toy_cohort, {}, Silent())
    assert same(toy_cohort, before)


def test_a_method_may_use_the_same_memory_for_every_field(toy_cohort: Cohort, toys: ModuleType) -> None:
    u = torch.zeros(3, *toy_cohort.setting.shape)

    def register(pair: Pair) -> Field:
        return Field(u.fill_(float(pair.fixed.data.mean())), pair.grid)

    def anew(pair: Pair) -> Field:
        return Field(register(pair).displacement.clone(), pair.grid)

    metrics = {"roundtrip": toys.Roundtrip()}
    apart, together = (evaluate(toys.Shift(), one, toy_cohort, metrics, Silent()).rows for one in (anew, register))
    assert apart == together


@pytest.mark.parametrize("what", ["truth", "moved", "field", "determinant", "landmarks", "reverse"])
def test_a_metric_that_writes_to_its_case_fails_the_run(toy_cohort: Cohort, toys: ModuleType, what: str) -> None:
    class Writes(Metric):
        def measure(self, case: Case) -> Mapping[int | None, float]:
            assert case.truth.landmarks is not None
            assert case.reverse is not None
            tensors = {
                "truth": case.truth.fixed_labels.data,
                "moved": case.moved_labels.data,
                "field": case.field.displacement,
                "determinant": case.determinant,
                "landmarks": case.truth.landmarks.moving,
                "reverse": case.reverse.displacement,
            }
            tensors[what].numpy()[...] += 1
            return {None: 1.0}

    with pytest.raises(RunError, match=r"A metric wrote to the case of pair 0001_0004; find it with"):
        evaluate(toys.Shift(), toys.Shift().register, deepcopy(toy_cohort), {"writes": Writes()}, Silent())


def test_a_mask_source_that_writes_to_its_request_changes_no_scan_and_no_truth(
    toy_cohort: Cohort, toys: ModuleType, tmp_path: Path
) -> None:
    before = content(toy_cohort)
    request: MaskRequest = mask_request(toy_cohort, toys.Copies(), "ct", tmp_path)
    assert request.truth is not None
    given: list[Volume] = [v for part in (request.scans, request.training_labels, request.truth) for v in part.values()]
    for volume in given:
        volume.data.zero_()
        volume.grid.affine[...] = 0
    assert same(toy_cohort, before)


def test_settings_that_a_method_leaves_behind_end_with_its_run(
    make_plan: Callable[..., Plan], toys: ModuleType, store: Store
) -> None:
    class Careless(toys.Shift):  # type: ignore[name-defined, misc]
        def register(self, pair: Pair) -> Field:
            found: Field = super().register(pair)
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_num_threads(threads + 1)
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.allow_tf32 = False
            return found

    def of_cudnn() -> tuple[bool, bool, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    threads = torch.get_num_threads()
    with own_settings():
        assert run(make_plan(Careless()), store).status == "done"
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)
        assert of_cudnn() == (False, False, True)
    assert run(make_plan(toys.ToyMethod()), store).status == "done"


def test_settings_by_torchs_newer_names_stop_no_run_and_end_with_it(
    make_plan: Callable[..., Plan], toys: ModuleType, store: Store
) -> None:
    """Torch refuses to say by the older names what was set by the newer ones."""

    class Modern(toys.Shift):  # type: ignore[name-defined, misc]
        def register(self, pair: Pair) -> Field:
            torch.backends.cuda.matmul.fp32_precision = "tf32"
            found: Field = super().register(pair)
            return found

    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has the older names only")
    assert run(make_plan(Modern()), store).status == "done"
    assert torch.get_float32_matmul_precision() == "highest"
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert run(make_plan(toys.ToyMethod()), store).status == "done"
    finally:
        torch.set_float32_matmul_precision("highest")
