"""The ranking of the Learn2Reg challenge: significant wins for each metric, turned into scores between 0.1 and 1.

A. Hering et al., "Learn2Reg: comprehensive multi-task medical image registration challenge, dataset and evaluation in
the era of deep learning", IEEE TMI 42(3), 2023.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from regbench.leaderboard.statistics.paired import HARDEST_SHARE

LOWEST_SCORE = 0.1
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class RankedMetric:
    """One of the ranking's metrics.

    Attributes:
        name: in the registry.
        title: as the table prints it.
        higher_is_better: which way is up.
        fill: what stands in for a value that is missing or not finite.
    """

    name: str
    title: str
    higher_is_better: bool
    fill: float


METRICS = (
    RankedMetric("dsc", "Dice", True, 0.0),
    RankedMetric("hd95-l2r", "HD95", False, 10.0),
    RankedMetric("sdlogj-l2r", "SDlogJ", False, 1.5),
)
HARDEST = "Dice30"
RANKED = ("Dice", HARDEST, "HD95", "SDlogJ")


def times_beaten(values: Sequence[Float[np.ndarray, " entries"]]) -> Int[np.ndarray, " methods"]:
    """How many methods beat each one significantly: Wilcoxon rank-sum, statistic above 0 and p below 0.05, uncorrected.

    Args:
        values: the pooled entries of each method; higher is better.
    """
    from scipy.stats import ranksums

    beaten = np.zeros(len(values), dtype=np.int64)
    for n, mine in enumerate(values):
        for m, other in enumerate(values):
            test = ranksums(other, mine)
            beaten[n] += n != m and test.statistic > 0 and test.pvalue < SIGNIFICANCE
    return beaten


def rank_scores(beaten: Int[np.ndarray, " methods"]) -> Float[np.ndarray, " methods"]:
    """Scores evenly spread from 0.1 (most often beaten) to 1 (least often); ties share their average.

    >>> rank_scores(np.array([2, 0, 1, 0])).round(3)
    array([0.1 , 0.85, 0.4 , 0.85])
    """
    scale = np.linspace(LOWEST_SCORE, 1, len(beaten))
    place = np.argsort(np.argsort(-beaten, kind="stable"), kind="stable")
    return np.array([scale[place[beaten == count]].mean() for count in beaten])


def l2r_scores(
    rows: Sequence[Mapping[str, Float[np.ndarray, "pairs _"]]], initial: Mapping[str, Float[np.ndarray, "pairs _"]]
) -> list[dict[str, float]]:
    """Each row's score for each metric, and their geometric mean under "total".

    Args:
        rows: metric → (pairs, labels) values of each method, NaN where missing (one column where a metric has no
            labels); a metric that is not there scores 0.1.
        initial: the same of the unregistered pairs, by which the hardest entries are chosen.
    """
    pooled = [_pool(row) for row in rows]
    hard = _hardest_entries(_pool(initial))
    for row in pooled:
        if "Dice" in row and hard is not None:
            row[HARDEST] = row["Dice"][hard]
    scores: list[dict[str, float]] = [{} for _ in rows]
    for title in RANKED:
        having = [n for n, row in enumerate(pooled) if title in row]
        # Who lacks the metric takes part as the most beaten of all, and beats nobody.
        beaten = np.full(len(rows), len(rows))
        beaten[having] = times_beaten([pooled[n][title] for n in having])
        for n, value in enumerate(rank_scores(beaten)):
            scores[n][title] = float(value) if n in having else LOWEST_SCORE
    for score in scores:
        score["total"] = float(np.exp(np.mean(np.log(list(score.values())))))
    return scores


def _pool(row: Mapping[str, Float[np.ndarray, "pairs _"]]) -> dict[str, Float[np.ndarray, " entries"]]:
    """Cases × labels of each metric in one list, filled in, with higher better."""
    pooled = {}
    for metric in METRICS:
        if metric.name in row:
            flat = row[metric.name].reshape(-1)
            filled = np.where(np.isfinite(flat), flat, metric.fill)
            pooled[metric.title] = filled if metric.higher_is_better else -filled
    return pooled


def _hardest_entries(initial: Mapping[str, Float[np.ndarray, " entries"]]) -> Int[np.ndarray, " hardest"] | None:
    """Here, too, a missing Dice counts as 0, and so among the hardest: that is how the challenge counts."""
    if "Dice" not in initial:
        return None
    count = round(len(initial["Dice"]) * HARDEST_SHARE)
    return np.argsort(initial["Dice"], kind="stable")[:count]
