"""The statistics against brute force, scipy and examples worked by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from regbench.api import PairId
from regbench.leaderboard.statistics.paired import (
    hardest,
    holm,
    patient_interval,
    patient_weights,
    student_quantile,
    tail_share,
    wilcoxon_p,
)

# Darwin's plants (Fisher 1935), self-fertilised minus crossed, in eighths of an inch: exact two-sided p = 0.0413.
DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)


def by_enumeration(differences: np.ndarray) -> float:
    """The share of all sign patterns whose rank sum lies at least as far from its middle."""
    ranks = stats.rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    seen = abs(ranks[differences > 0].sum() - middle)
    patterns = np.array(list(product([0, 1], repeat=len(ranks)))) @ ranks
    return float(np.mean(np.abs(patterns - middle) >= seen - 1e-9))


def test_wilcoxon_is_exact() -> None:
    assert wilcoxon_p(DARWIN, np.zeros(15)) == pytest.approx(by_enumeration(DARWIN), abs=1e-12)
    assert wilcoxon_p(DARWIN, np.zeros(15)) == pytest.approx(0.0413, abs=5e-5)
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=10), rng.normal(0.5, size=10)
    assert wilcoxon_p(a, b) == pytest.approx(by_enumeration(a - b), abs=1e-12)


def test_wilcoxon_is_exact_with_ties() -> None:
    differences = np.array([1, 1, -1, 2, 2, 3, -3, 3, 4, 0], dtype=float)
    assert wilcoxon_p(differences, np.zeros(10)) == pytest.approx(by_enumeration(differences[:-1]), abs=1e-12)


@pytest.mark.parametrize("n", [2, 6, 21, 45, 50])
def test_wilcoxon_agrees_with_scipy_where_there_are_no_ties(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.3, size=n)
    assert wilcoxon_p(a, b) == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-9)


def test_wilcoxon_agrees_with_scipy_for_many_pairs() -> None:
    rng = np.random.default_rng(3)
    smooth, tied = rng.normal(0.1, size=190), rng.integers(-5, 7, size=190).astype(float)
    for differences in (smooth, tied):
        expected = stats.wilcoxon(differences, method="asymptotic", correction=False).pvalue
        assert wilcoxon_p(differences, np.zeros(190)) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_takes_pairs_that_both_have() -> None:
    a, b = DARWIN.copy(), np.zeros(15)
    a[3], b[7] = np.nan, np.nan
    kept = np.delete(DARWIN, [3, 7])
    assert wilcoxon_p(a, b) == pytest.approx(by_enumeration(kept), abs=1e-12)
    assert wilcoxon_p(b[:5], b[:5]) == 1.0
    assert np.isnan(wilcoxon_p(np.array([1.0, np.nan]), np.array([np.nan, 1.0])))


def test_holm_by_hand_and_by_definition() -> None:
    # Sorted: 0.005·4, 0.01·3, 0.03·2, 0.04·1, each at least the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = holm([0.5, float("nan"), 0.9])
    assert with_gap[0] == 1.0
    assert np.isnan(with_gap[1])
    rng = np.random.default_rng(0)
    p = rng.uniform(size=8)
    order = np.argsort(p)
    for rank, place in enumerate(order):
        bound = max((8 - r) * p[order[r]] for r in range(rank + 1))
        assert holm(list(p))[place] == pytest.approx(min(1, bound))


def test_weights_count_pairs_as_the_drawn_patients_meet() -> None:
    pairs = [PairId(a, b) for a, b in combinations("abcd", 2)] + [PairId("a/ES", "a/ED")]
    weights = patient_weights(pairs, resamples=20, seed=3)
    drawn = np.random.default_rng(3).multinomial(4, [0.25] * 4, size=20)
    for row, counts in zip(weights, drawn, strict=True):
        patients = [name for name, count in zip("abcd", counts, strict=True) for _ in range(count)]
        for weight, pair in zip(row[:-1], pairs[:-1], strict=True):
            meetings = sum(fixed == pair.fixed and moving == pair.moving for fixed in patients for moving in patients)
            assert weight == meetings
        assert row[-1] == patients.count("a")


def test_interval_within_patients_is_the_usual_bootstrap() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(70, 5, size=12)
    pairs = [PairId(f"p{n:02d}/ES", f"p{n:02d}/ED") for n in range(12)]
    level = 1 - 2 * tail_share(0.95, 12)
    usual = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=20_000,
        confidence_level=level,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert patient_interval(values, pairs, resamples=20_000) == pytest.approx(tuple(usual), abs=0.1)


def test_the_bounds_lie_as_far_out_as_students_t_asks_for() -> None:
    for tail, freedom in product((0.4, 0.1, 0.025, 1e-4), (1, 2, 3, 4, 9, 28, 149)):
        assert student_quantile(tail, freedom) == pytest.approx(stats.t.isf(tail, freedom), rel=1e-7)
    for patients in (2, 5, 10, 100):
        wider = stats.norm.sf(stats.t.isf(0.025, patients - 1) * np.sqrt(patients / (patients - 1)))
        assert tail_share(0.95, patients) == pytest.approx(wider, rel=1e-6)


@pytest.mark.parametrize("names", [list(combinations("abcde", 2)), [(f"{p}/ES", f"{p}/ED") for p in "abcdefghij"]])
def test_an_interval_of_95_percent_holds_the_true_mean_that_often(names: list[tuple[str, str]]) -> None:
    """Plain percentiles do so in 87 to 90 % of such samples of five or ten patients."""
    pairs = [PairId(*scans) for scans in names]
    patients = sorted({scan[0] for pair in pairs for scan in pair})
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        effect = dict(zip(patients, rng.normal(size=len(patients)), strict=True))
        values = np.array([effect[p.fixed[0]] + effect[p.moving[0]] + rng.normal() for p in pairs])
        low, high = patient_interval(values, pairs, resamples=2000)
        held += low <= 0 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_interval_between_patients_by_enumeration() -> None:
    pairs = [PairId(a, b) for a, b in combinations("abcd", 2)]
    values = np.array([1.0, 2.0, 6.0, 4.5, 3.1, 7.7])
    means = []
    for drawn in product("abcd", repeat=4):
        weights = np.array([drawn.count(p.fixed) * drawn.count(p.moving) for p in pairs])
        if weights.any():
            means.append(weights @ values / weights.sum())
    exact = np.round(means, 9)
    for level in (0.4, 0.63, 0.9):
        interval = patient_interval(values, pairs, level=level, resamples=40_000)
        tail = tail_share(level, 4)
        for bound, share in zip(np.round(interval, 9), (tail, 1 - tail), strict=True):
            assert np.mean(exact < bound) - 0.01 <= share <= np.mean(exact <= bound) + 0.01


def test_interval_is_wider_than_that_of_independent_pairs() -> None:
    rng = np.random.default_rng(2)
    names = [f"p{n}" for n in range(10)]
    hard = dict(zip(names, rng.normal(0, 5, 10), strict=True))
    pairs = [PairId(a, b) for a, b in combinations(names, 2)]
    values = np.array([hard[p.fixed] + hard[p.moving] for p in pairs])
    low, high = patient_interval(values, pairs)
    naive = stats.bootstrap(
        (values,), np.mean, method="percentile", confidence_level=1 - 2 * tail_share(0.95, 10), rng=rng
    ).confidence_interval
    assert high - low > 1.5 * (naive.high - naive.low)


def test_interval_needs_two_patients() -> None:
    assert np.isnan(patient_interval(np.array([1.0]), [PairId("a/ES", "a/ED")])).all()


def test_interval_leaves_out_what_was_not_scored() -> None:
    pairs = [PairId(f"p{n}/ES", f"p{n}/ED") for n in range(4)]
    assert patient_interval(np.array([1.0, np.nan, 3.0, 2.0]), pairs) == patient_interval(
        np.array([1.0, 3.0, 2.0]), [pairs[0], pairs[2], pairs[3]]
    )


def test_hardest_are_the_lowest_scored_entries() -> None:
    initial = np.array([[0.5, np.nan, 0.1, 0.9, 0.2], [0.3, 0.8, 0.7, 0.0, 0.6], [0.4, 0.95, np.nan, 0.85, 0.65]])
    chosen = hardest(initial)
    # 13 were scored; 30 % of them are 3.9, so 4.
    assert sorted(initial[chosen]) == [0.0, 0.1, 0.2, 0.3]
