"""The Learn2Reg ranking against a second formulation and an example worked by hand."""

import numpy as np
import pytest
from scipy import stats

from regbench.leaderboard.statistics.l2r import l2r_scores, rank_scores, times_beaten


def test_scores_of_ties_are_shared() -> None:
    # 0.1, 0.28, 0.46, 0.64, 0.82, 1 from most to least beaten; the two 4s and the two 0s share theirs.
    assert rank_scores(np.array([0, 2, 4, 3, 4, 0])) == pytest.approx([0.91, 0.64, 0.19, 0.46, 0.19, 0.91])


def test_beaten_is_decided_by_scipy_and_sign() -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(mean, 1, 60) for mean in (0.0, 0.1, 1.0, 1.1, 3.0)]
    expected = [
        sum(
            (test := stats.ranksums(other, mine)).pvalue < 0.05 and test.statistic > 0
            for other in values
            if other is not mine
        )
        for mine in values
    ]
    assert times_beaten(values).tolist() == expected
    assert expected[-1] == 0
    assert expected[0] == 3


def make_rows(seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows = []
    for gain in (0.0, 0.1, 0.3):
        dice = np.clip(rng.normal(0.4 + gain, 0.1, (20, 4)), 0, 1)
        dice[3, 2] = np.nan
        hd95 = rng.normal(9 - 8 * gain, 1, (20, 4))
        hd95[5, 1] = np.inf
        rows.append({"dsc": dice, "hd95-l2r": hd95, "sdlogj-l2r": rng.normal(gain, 0.01, (20, 1))})
    return rows


def test_whole_ranking_by_hand() -> None:
    rows = make_rows()
    scores = l2r_scores(rows, rows[0])
    for score, (dice, distance, regularity) in zip(
        scores, [(0.1, 0.1, 1), (0.55, 0.55, 0.55), (1, 1, 0.1)], strict=True
    ):
        assert score["Dice"] == pytest.approx(dice)
        assert score["HD95"] == pytest.approx(distance)
        assert score["SDlogJ"] == pytest.approx(regularity)
        product = score["Dice"] * score["Dice30"] * score["HD95"] * score["SDlogJ"]
        assert score["total"] == pytest.approx(product**0.25)


def test_hardest_third_counts_missing_dice_as_zero() -> None:
    """24 of 80 entries; the one that is missing is 0, so it is among them, for every method alike."""
    rows = make_rows()
    initial = np.nan_to_num(rows[0]["dsc"]).reshape(-1)
    entries = np.argsort(initial)[:24]
    pools = [np.nan_to_num(row["dsc"]).reshape(-1)[entries] for row in rows]
    expected = rank_scores(times_beaten(pools))
    assert [score["Dice30"] for score in l2r_scores(rows, rows[0])] == pytest.approx(expected)


def test_fill_ins_decide_where_a_method_fails() -> None:
    good = {"sdlogj-l2r": np.full((30, 1), 0.1) + np.arange(30)[:, None] * 1e-4}
    absent = {"sdlogj-l2r": np.where(np.arange(30)[:, None] < 25, np.nan, 0.05)}
    scores = l2r_scores([good, absent], {})
    # 25 of 30 missing values count as 1.5.
    assert [score["SDlogJ"] for score in scores] == [1.0, 0.1]


def test_who_lacks_a_metric_scores_the_lowest_and_counts_among_the_methods() -> None:
    """As in the challenge, where it is filled in: the worst of those that have it stands above it."""
    rows = make_rows()
    del rows[2]["hd95-l2r"]
    assert [score["HD95"] for score in l2r_scores(rows, rows[0])] == pytest.approx([0.55, 1.0, 0.1])
    del rows[1]["hd95-l2r"]
    assert [score["HD95"] for score in l2r_scores(rows, rows[0])] == pytest.approx([1.0, 0.1, 0.1])
    del rows[0]["hd95-l2r"]
    assert [score["HD95"] for score in l2r_scores(rows, rows[0])] == [0.1, 0.1, 0.1]
