"""Average ranks, Friedman's test and the runs of rows that are not told apart."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from regbench.leaderboard import boards, ranks
from regbench.leaderboard.statistics.ranks import average_ranks, chi_squared_tail, cliques, friedman, pairwise_p

# Ranks 1 2 3, 1 3 2, 1 2 3, 2 1 3; their sums are 5, 8 and 11.
BY_HAND = np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.6, 0.5, 0.4], [0.3, 0.5, 0.1]])


def test_a_worked_example() -> None:
    assert average_ranks(BY_HAND).sum(axis=0).tolist() == [5, 8, 11]
    # 12 / (4·3·4) · (25 + 64 + 121) − 3·4·4 = 4.5, and with two degrees of freedom p = exp(−4.5 / 2).
    assert friedman(BY_HAND) == pytest.approx((4.5, np.exp(-2.25)))


@pytest.mark.parametrize("shape", [(14, 4), (45, 9), (6, 3)])
def test_friedman_agrees_with_scipy(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    for scores in (rng.normal(size=shape), rng.integers(0, 4, size=shape).astype(float)):
        expected = stats.friedmanchisquare(*scores.T)
        assert friedman(scores) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
        by_scipy = [shape[1] + 1 - stats.rankdata(line) for line in scores]
        np.testing.assert_allclose(average_ranks(scores), by_scipy)


def test_friedman_without_any_difference() -> None:
    assert friedman(np.ones((5, 3))) == (0.0, 1.0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 15])
def test_the_tail_of_chi_squared_agrees_with_scipy(freedom: int) -> None:
    for value in (0.0, 0.3, 4.0, 25.0, 80.0):
        assert chi_squared_tail(value, freedom) == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-9, abs=1e-300)


def test_pairs_of_rows_agree_with_scipy_and_holm() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(20, 4)) + np.array([0, 0.3, 1.0, 1.1])
    matrix = pairwise_p(scores)
    pairs = list(combinations(range(4), 2))
    raw = np.array([stats.wilcoxon(scores[:, a], scores[:, b], method="exact").pvalue for a, b in pairs])
    order = np.argsort(raw)
    adjusted, highest = np.empty(6), 0.0
    for turn, place in enumerate(order):
        highest = max(highest, min(1.0, raw[place] * (6 - turn)))
        adjusted[place] = highest
    for (a, b), p in zip(pairs, adjusted, strict=True):
        assert matrix[a, b] == matrix[b, a] == pytest.approx(p, rel=1e-9)
    assert (np.diag(matrix) == 1).all()


def test_cliques_are_the_longest_runs_without_a_difference() -> None:
    told_apart = {(0, 2), (0, 3), (0, 4), (1, 4), (2, 4), (3, 4)}
    pairwise = np.ones((5, 5))
    for a, b in told_apart:
        pairwise[a, b] = pairwise[b, a] = 0.01
    assert cliques(pairwise) == [(0, 1), (1, 3)]
    assert cliques(np.full((3, 3), 0.001)) == []
    assert cliques(np.ones((3, 3))) == [(0, 2)]


def dice(value: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(value, 2, (10, 3))


def test_the_rows_of_a_board_by_rank(make_run) -> None:
    runs = [make_run("identity", {"dsc": dice(10, 0)})]
    runs += [make_run(f"m{n}", {"dsc": dice(value, n)}) for n, value in enumerate((30, 50, 49.9, 40), 1)]
    [board] = boards(runs)
    found = ranks(board)
    assert {row.name for row in found.rows[:2]} == {"M2", "M3"}
    assert [row.name for row in found.rows[2:]] == ["M4", "M1"]
    assert found.average[2:] == (3.0, 4.0)
    assert found.pairs == 10
    assert found.cliques == ((0, 1),)
    assert found.p < 0.001


def test_lower_is_better_turns_the_ranks(make_run) -> None:
    runs = [make_run(f"m{n}", {"hd95": np.full((10, 3), float(n)) + dice(0, n) / 100}) for n in (1, 2, 3)]
    found = ranks(boards(runs)[0], "hd95")
    assert [row.name for row in found.rows] == ["M1", "M2", "M3"]


def test_too_few_rows_have_no_ranks(make_run) -> None:
    runs = [make_run(name, {"dsc": dice(20, n)}) for n, name in enumerate(("identity", "a", "b"))]
    assert ranks(boards(runs)[0]) is None
