from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import ndimage

from regbench.api import Card, Case, Field, Landmarks, Metric, Pair, PairId, Silent, Tick
from regbench.data import Cohort, read_field
from regbench.engine import evaluate
from regbench.engine.evaluation.scoring import groups
from regbench.errors import RunError

CASES: list[Case] = []


@dataclass(frozen=True)
class Keep(Metric):
    """Keeps the cases that it is shown."""

    card: ClassVar[Card] = Card(title="Keep", summary="Keeps.")
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = True

    def measure(self, case: Case) -> Mapping[int | None, float]:
        CASES.append(case)
        return {None: 1.0}


@pytest.fixture
def kept() -> list[Case]:
    CASES.clear()
    return CASES


def smooth_field(seen: Pair) -> Field:
    """Different for every pair, and for its two directions."""
    numbers = torch.Generator().manual_seed(int(seen.fixed.data.sum() * 1000 + 7 * seen.moving.data.max() * 1e4))
    coarse = torch.randn(1, 3, 4, 4, 4, generator=numbers) * 2
    return Field(torch.nn.functional.interpolate(coarse, seen.grid.shape, mode="trilinear")[0], seen.grid)


def test_a_case_is_made_by_the_book(toy_cohort: Cohort, toys: ModuleType, kept: list[Case]) -> None:
    pairs = toy_cohort.protocol.test_pairs
    evaluate(toys.Shift(), smooth_field, toy_cohort, {"keep": Keep()}, Silent())
    assert len(kept) == len(pairs) == 2
    for pair in pairs:
        u = smooth_field(toy_cohort.pair(pair).without_masks()).displacement.double().numpy()
        (case,) = (one for one in kept if np.allclose(one.field.displacement, u))
        moving = toy_cohort.label_map(pair.moving)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in u.shape[1:]), indexing="ij"))
        moved = ndimage.map_coordinates(moving.data.numpy(), index + u, order=0, cval=0)
        assert (case.moved_labels.data.numpy() == moved).all()
        gradient = np.stack([np.stack(np.gradient(component)) for component in u])[:, :, 2:-2, 2:-2, 2:-2]
        jacobian = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3)
        assert np.allclose(case.determinant.numpy(), np.linalg.det(jacobian), atol=1e-4)
        assert torch.equal(case.truth.fixed_labels.data, toy_cohort.label_map(pair.fixed).data)
        assert isinstance(case.truth.landmarks, Landmarks)
        assert case.reverse is not None
        back = smooth_field(toy_cohort.pair(PairId(pair.moving, pair.fixed))).displacement
        assert torch.equal(case.reverse.displacement, back)


def test_there_is_no_reverse_where_it_is_not_run(toy_cohort: Cohort, toys: ModuleType, kept: list[Case]) -> None:
    one_way = toy_cohort.protocol.model_copy(update={"test_pairs": toy_cohort.protocol.test_pairs[:1]})
    evaluate(toys.Shift(), smooth_field, replace(toy_cohort, protocol=one_way), {"keep": Keep()}, Silent())
    assert [case.reverse for case in kept] == [None]


def many(cohort: Cohort, pairs: list[PairId]) -> Cohort:
    return replace(cohort, protocol=cohort.protocol.model_copy(update={"test_pairs": tuple(pairs)}))


def test_rows_stand_in_the_protocols_order(toy_cohort: Cohort, toys: ModuleType) -> None:
    scans = toy_cohort.protocol.train + toy_cohort.protocol.test
    pairs = [PairId(a, b) for a in scans for b in scans if a != b]
    metrics = {"roundtrip": toys.Roundtrip(), "dsc": toys.Overlap()}
    rows = evaluate(toys.Shift(), smooth_field, many(toy_cohort, pairs), metrics, Silent()).rows
    order = [(PairId(row.fixed, row.moving), row.metric, row.label) for row in rows]
    expected = [(pair, *rest) for pair in pairs for rest in [("roundtrip", None), *(("dsc", n) for n in (1, 2, 3))]]
    assert order == expected


@pytest.mark.parametrize("values", [None, {"liver": 1.0}, {1: None}])
def test_a_metric_that_measures_nonsense_is_named(
    toy_cohort: Cohort, toys: ModuleType, monkeypatch: pytest.MonkeyPatch, values: Any
) -> None:
    monkeypatch.setattr(toys.Overlap, "measure", lambda *_: values)
    with pytest.raises(RunError, match=r"The metric mine failed on pair .*Error: "):
        evaluate(toys.Shift(), smooth_field, toy_cohort, {"mine": toys.Overlap()}, Silent())


def test_pairs_go_in_groups_with_their_reverse() -> None:
    a, b, c = (PairId(*names) for names in (("1", "2"), ("1", "3"), ("2", "1")))
    assert list(groups([a, b, c], 2)) == [[a, c], [b]]
    assert list(groups([a, b, c], 1)) == [[a, c], [b]]
    assert list(groups([a, b, c], 3)) == [[a, c, b]]
    assert list(groups([], 3)) == []


@pytest.mark.parametrize(("seconds", "median"), [([9.0, 1.0, 2.0, 4.0], 2.0), ([9.0], 9.0)])
def test_seconds_are_the_median_without_the_warm_up(
    toy_cohort: Cohort, toys: ModuleType, clock: Any, seconds: list[float], median: float
) -> None:
    scans = toy_cohort.protocol.train + toy_cohort.protocol.test
    pairs = [PairId(a, b) for a in scans for b in scans if a != b][: len(seconds)]
    left = list(seconds)

    def register(seen: Pair) -> Field:
        clock.sleep(left.pop(0))
        return Field(torch.zeros(3, *seen.grid.shape), seen.grid)

    result = evaluate(toys.Shift(), register, many(toy_cohort, pairs), {}, Silent())
    assert result.seconds_per_pair == median


def test_some_pairs_are_skipped(toy_cohort: Cohort, toys: ModuleType) -> None:
    first, second = toy_cohort.protocol.test_pairs

    class Picky(toys.Shift):  # type: ignore[name-defined, misc]
        def skip(self, pair: Pair) -> str | None:
            return "too dark" if torch.equal(pair.fixed.data, toy_cohort.image(first.fixed).data) else None

    result = evaluate(Picky(), Picky().register, toy_cohort, {"dsc": toys.Overlap()}, Silent())
    assert result.skipped == ((first, "too dark"),)
    assert {PairId(row.fixed, row.moving) for row in result.rows} == {second}


def test_random_methods_repeat_themselves_and_leave_the_generators_alone(toy_cohort: Cohort, toys: ModuleType) -> None:
    method = toys.Shift(wrong="random")
    before = torch.get_rng_state()
    rows = [
        evaluate(method, method.register, toy_cohort, {"r": toys.Roundtrip()}, Silent(), seed=seed).rows
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_fields_are_kept_and_old_ones_go(toy_cohort: Cohort, toys: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    (folder / "disp_old_one.nii.gz").touch()
    evaluate(toys.Shift(), smooth_field, toy_cohort, {}, Silent(), fields=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["disp_0001_0004.nii.gz", "disp_0004_0001.nii.gz"]
    for pair in toy_cohort.protocol.test_pairs:
        kept = read_field(folder / f"disp_{pair.fixed}_{pair.moving}.nii.gz")
        assert torch.equal(kept.displacement, smooth_field(toy_cohort.pair(pair)).displacement)


@pytest.mark.parametrize("masks", ["never", "training", "always"])
def test_masks_are_seen_at_test_only_by_those_that_always_look(
    toy_cohort: Cohort, toys: ModuleType, masks: str
) -> None:
    masked = toy_cohort.with_masks({scan: toy_cohort.label_map(scan) for scan in toy_cohort.ids})
    seen = []

    class Looks(toys.Shift):  # type: ignore[name-defined, misc]
        def skip(self, pair: Pair) -> str | None:
            seen.append(pair)
            return None

    Looks.masks = masks

    def register(pair: Pair) -> Field:
        seen.append(pair)
        return Field(torch.zeros(3, *pair.grid.shape), pair.grid)

    evaluate(Looks(), register, masked, {}, Silent())
    assert len(seen) == 4
    for pair in seen:
        shown = [pair.fixed_mask, pair.moving_mask]
        assert all((mask is not None) == (masks == "always") for mask in shown)


def test_half_and_double_precision_fields_become_float32(
    toy_cohort: Cohort, toys: ModuleType, kept: list[Case]
) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        evaluate(
            toys.Shift(),
            lambda seen, kind=kind: Field(torch.ones(3, *seen.grid.shape, dtype=kind, requires_grad=True), seen.grid),
            toy_cohort,
            {"keep": Keep()},
            Silent(),
        )
    assert {case.field.displacement.dtype for case in kept} == {torch.float32}
    assert not any(case.field.displacement.requires_grad for case in kept)


def test_a_field_of_numpy_is_named(toy_cohort: Cohort, toys: ModuleType) -> None:
    def register(seen: Pair) -> Field:
        field = Field(torch.zeros(3, *seen.grid.shape), seen.grid)
        object.__setattr__(field, "displacement", field.displacement.numpy())
        return field

    with pytest.raises(RunError, match="the field holds a ndarray; expected a Tensor"):
        evaluate(toys.Shift(), register, toy_cohort, {}, Silent())


def test_progress(toy_cohort: Cohort, toys: ModuleType) -> None:
    told: list[Any] = []

    class Told(Silent):
        def started(self, phase: Any, total: float | None, unit: str) -> None:
            told.append((phase, total, unit))

        def advanced(self, tick: Tick) -> None:
            told.append(tick.done)

        def done(self) -> None:
            told.append("done")

    evaluate(toys.Shift(), smooth_field, toy_cohort, {}, Told())
    assert told == [("evaluate", 2.0, "pair"), 1.0, "done"]


def test_the_peak_of_memory_is_that_of_registering(
    toy_cohort: Cohort, toys: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What metrics took since the pairs before does not count."""

    @dataclass(frozen=True)
    class Large(Metric):
        card: ClassVar[Card] = Card(title="Large", summary="Takes 300 MiB.")
        unit: ClassVar[str] = ""
        higher_is_better: ClassVar[bool] = True

        def measure(self, case: Case) -> Mapping[int | None, float]:
            return {None: float(torch.ones(300, 2**18).sum())}

    monkeypatch.setattr("regbench.engine.evaluation.scoring.cores", lambda: 1)
    a, b, c = toy_cohort.ids[:3]
    cohort = many(toy_cohort, [PairId(a, b), PairId(b, c)])
    small, large = (evaluate(toys.Shift(), smooth_field, cohort, metrics, Silent()).peak_memory_mib
                    for metrics in ({}, {"large": Large()}))  # fmt: skip
    assert large < small + 100
