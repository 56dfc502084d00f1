from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from regbench.api import Field, Grid, Method, Pair, Volume
from regbench.data import load_cohort, read_field
from regbench.engine import Plan, refine, refining, reopen, run
from regbench.engine.evaluation import refinement as room
from regbench.engine.records.run_id import run_id
from regbench.errors import BadValueError, RunError
from regbench.losses import lncc
from regbench.registry import Registry
from regbench.results import RunRecord, Store
from regbench.spatial import jacobian_determinant, warp

Make = Callable[..., Plan]
SHAPE = (18, 14, 16)
GRID = Grid.centred(SHAPE, (2.0, 3.0, 2.5))
NEAR, FAR = 0.5, 1.5


def texture(seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 1, 7, 6, 6, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, SHAPE, mode="trilinear", align_corners=True)


def swelling(voxels: float) -> torch.Tensor:
    """A displacement along i that is greatest in the middle."""
    u = torch.zeros(3, *SHAPE)
    u[0] = voxels * torch.linspace(0, torch.pi, SHAPE[0]).sin()[:, None, None]
    return u


def make_pair(voxels: float, seed: int = 0, **masks: torch.Tensor) -> Pair:
    """A scan, and the same one displaced."""
    fixed = texture(seed)
    moving = warp(fixed, -swelling(voxels)[None])
    shown = {name: Volume(mask, GRID) for name, mask in masks.items()}
    return Pair(Volume(fixed[0, 0], GRID), Volume(moving[0, 0], GRID), **shown, labels=(1,) if masks else ())


def still(pair: Pair) -> Field:
    return Field(torch.zeros(3, *pair.grid.shape), pair.grid)


def correlation(pair: Pair, field: Field) -> float:
    batch = pair.batch()
    return -float(lncc(batch.fixed, warp(batch.moving, field.displacement[None])))


def test_it_improves_the_similarity_and_does_not_fold() -> None:
    pair = make_pair(FAR)
    few, many = refine(still(pair), pair, 3), refine(still(pair), pair, 20)
    assert correlation(pair, still(pair)) + 0.02 < correlation(pair, few) < correlation(pair, many)
    assert jacobian_determinant(many.displacement).min() > 0
    assert many.grid is pair.grid


def test_a_smooth_known_displacement_is_found() -> None:
    pair, known = make_pair(FAR), swelling(FAR)
    found = refine(still(pair), pair, 20).displacement
    inside = (slice(None), *[slice(4, -4)] * 3)
    assert (found[inside] - known[inside]).abs().mean() < 0.3 * known[inside].abs().mean()


def test_it_never_leaves_a_pair_worse_than_it_was() -> None:
    """A single large step away from what is right already."""
    pair = make_pair(0.0)
    assert refine(still(pair), pair, 1).displacement.abs().max() == 0


def test_no_pair_leaves_anything_for_another() -> None:
    one, other = make_pair(FAR), make_pair(NEAR, seed=1)
    register = refining(still, 3)
    first = [register(one).displacement, register(other).displacement]
    second = [register(other).displacement, register(one).displacement]
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(first[0], first[1])


def test_nothing_that_it_is_given_is_written_to() -> None:
    pair = make_pair(FAR)
    start, before = still(pair), (pair.fixed.data.clone(), pair.moving.data.clone())
    with torch.no_grad():
        refined = refine(start, pair, 4)
    assert not refined.displacement.requires_grad
    assert refined.displacement.abs().max() > 0
    assert start.displacement.abs().max() == 0
    assert torch.equal(pair.fixed.data, before[0])
    assert torch.equal(pair.moving.data, before[1])


def test_masks_count_only_where_the_pair_has_them() -> None:
    organ = torch.zeros(SHAPE, dtype=torch.uint8)
    organ[5:10, 4:9, 4:9] = 1
    pair = make_pair(FAR, fixed_mask=organ, moving_mask=organ.roll(1, 1))
    blind = refine(still(pair), pair.without_masks(), 3)
    assert torch.equal(blind.displacement, refine(still(pair), make_pair(FAR), 3).displacement)
    assert not torch.equal(blind.displacement, refine(still(pair), pair, 3).displacement)


def test_folds_that_it_starts_with_become_fewer() -> None:
    pair = make_pair(NEAR)
    noise = 3 * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    start = Field(functional.avg_pool3d(noise, 3, 1, 1), pair.grid)
    folded = (jacobian_determinant(start.displacement) <= 0).float().mean()
    after = (jacobian_determinant(refine(start, pair, 20).displacement) <= 0).float().mean()
    assert folded > 0.001
    assert after < folded / 2


@pytest.mark.parametrize("shape", [(9, 1, 12), (4, 5, 3)])
def test_thin_scans_can_be_refined(shape: tuple[int, int, int]) -> None:
    scan = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    grid = replace(GRID, shape=shape)
    pair = Pair(Volume(scan, grid), Volume(scan.flip(0).contiguous(), grid))
    assert refine(still(pair), pair, 2).displacement.isfinite().all()


def test_bad_values() -> None:
    pair = make_pair(NEAR)
    assert refine(still(pair), pair, 0).displacement.equal(still(pair).displacement)
    assert refining(still, 0) is still
    with pytest.raises(BadValueError, match="0 or more steps, not -1"):
        refine(still(pair), pair, -1)
    broken = replace(pair, moving=Volume(pair.moving.data * torch.nan, pair.grid))
    with pytest.raises(RunError, match="nothing finite"):
        refine(still(pair), broken, 1)


def test_a_refined_row_has_a_name_and_an_id_of_its_own(
    make_plan: Make, toys: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_plan(toys.ToyMethod(), masks=toys.Halves())
    refined = replace(plain, refine=5)
    assert refined.row == f"{plain.row} + refine" == "toy + halves + refine"
    ids = {run_id(plain, "data"), run_id(refined, "data"), run_id(replace(plain, refine=6), "data")}
    assert len(ids) == 3
    before = run_id(refined, "data")
    monkeypatch.setattr("regbench.engine.records.run_id.REVISION", room.REVISION + 1)
    assert run_id(refined, "data") != before


def test_a_run_registers_and_then_refines(make_plan: Make, toys: ModuleType, store: Store) -> None:
    shift: Method = toys.Shift(voxels=2.4)
    plan = make_plan(shift, refine=2, save_fields=True)
    record = run(plan, store)
    assert (record.status, record.row, record.refine) == ("done", "toy[voxels=2.4] + refine", 2)
    assert RunRecord.model_validate_json(record.model_dump_json()).refine == 2
    cohort = load_cohort(plan.task, plan.folder, plan.protocol, cache=plan.cache)
    pair_id = plan.protocol.test_pairs[0]
    pair = cohort.pair(pair_id)
    kept = read_field(store.folder("toy", record.row, record.run_id).fields / "disp_0001_0004.nii.gz")
    assert torch.equal(kept.displacement, refine(shift.register(pair), pair, 2).displacement)
    assert not torch.equal(kept.displacement, shift.register(pair).displacement)


def test_a_network_is_trained_once_for_the_plain_and_the_refined_row(
    make_plan: Make, toys: ModuleType, store: Store, tmp_path: Path
) -> None:
    plain = make_plan(toys.ToyMethod())
    refined = replace(plain, refine=2)
    alone = run(refined, Store(tmp_path / "alone"))
    assert run(plain, store).status == "done"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regbench.engine.sitting.train", None)  # whoever trains now fails
        taken = run(refined, store)
    assert (taken.status, taken.training, taken.run_id) == ("done", alone.training, alone.run_id)
    assert taken.cost.parameters == alone.cost.parameters
    folders = [s.folder(taken.task, taken.row, taken.run_id) for s in (store, Store(tmp_path / "alone"))]
    assert folders[0].weights.read_bytes() == folders[1].weights.read_bytes()
    assert folders[0].cases.read_text() == folders[1].cases.read_text()
    assert "history.csv" in taken.files


def test_a_refined_run_opened_again_refines(
    store: Store, toy_folder: Path, call_identity: Callable[[int], RunRecord]
) -> None:
    record = call_identity(3)
    registry = Registry([Path(__file__).parents[1] / "plugins/toybox/src/toybox/balls.py"])
    reopened = reopen(store.folder(record.task, record.row, record.run_id), record, registry)
    pair_id = record.protocol.test_pairs[0]
    stored = reopened.field(pair_id)
    again = reopened.register(reopened.cohort.pair(pair_id))
    assert reopened.stored_field(pair_id)
    assert again.displacement.abs().max() > 0
    assert torch.equal(stored.displacement, again.displacement)


@pytest.fixture
def call_identity(store: Store) -> Callable[[int], RunRecord]:
    """A run of identity with so many steps of refinement on the third party's task, fields kept."""
    from regbench.cli.plans import Wanted, plans, stage

    def make(steps: int) -> RunRecord:
        registry = Registry([Path(__file__).parents[1] / "plugins/toybox/src/toybox/balls.py"])
        wanted = Wanted(tasks=["balls"], methods=["identity"], refine=steps, save_fields=True)
        here = stage(registry, "balls", wanted)
        plain, refined = plans(registry, here, wanted, {})
        assert (plain.row, refined.row) == ("identity", "identity + refine")
        return run(refined, store)

    return make
