"""Average ranks and what a critical-difference diagram draws: which rows the pairs cannot tell apart.

Friedman's test (1937) asks whether any two rows differ; then every two rows are compared by Wilcoxon's signed-rank
test, Holm-corrected, and rows that no test tells apart are joined, as A. Benavoli, G. Corani and F. Mangili, "Should we
really use post-hoc tests based on mean-ranks?", JMLR 17, 2016, advise: with Nemenyi's test, the common alternative,
whether two rows differ depends on which other rows happen to be on the board.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.paired import SIGNIFICANT, holm, wilcoxon_p


@dataclass(frozen=True, eq=False)
class Ranks:
    """Rows by their average rank over the pairs.

    Attributes:
        rows: the rows that compete, best average rank first.
        average: their average ranks; 1 is the best.
        pairs: over how many pairs.
        statistic: Friedman's chi-squared, corrected for ties.
        p: its p-value.
        pairwise: (rows, rows) Holm-corrected p of each comparison; 1 on the diagonal.
        cliques: first and last place of each longest run of rows none of which differ significantly.
    """

    rows: tuple[Row, ...]
    average: tuple[float, ...]
    pairs: int
    statistic: float
    p: float
    pairwise: Float[np.ndarray, "rows rows"]
    cliques: tuple[tuple[int, int], ...]


def ranks(board: Board, metric: str = PRIMARY, *, significant: float = SIGNIFICANT) -> Ranks | None:
    """The ranked rows of a board by average rank over the pairs' means, or None with fewer than three or two pairs."""
    rows = [row for row in board.rows if row.is_ranked and metric in row.values]
    if len(rows) < 3:
        return None
    sign = 1 if board.metrics[metric].higher_is_better else -1
    scores = np.stack([sign * row.per_pair(metric) for row in rows], axis=1)
    scores = scores[np.isfinite(scores).all(axis=1)]
    if len(scores) < 2:
        return None
    table = average_ranks(scores)
    means = table.mean(axis=0)
    order = [int(n) for n in np.argsort(means, kind="stable")]
    statistic, p = friedman(scores)
    pairwise = pairwise_p(scores[:, order])
    return Ranks(
        rows=tuple(rows[n] for n in order),
        average=tuple(float(means[n]) for n in order),
        pairs=len(scores),
        statistic=statistic,
        p=p,
        pairwise=pairwise,
        cliques=tuple(cliques(pairwise, significant)),
    )


def average_ranks(scores: Float[np.ndarray, "pairs rows"]) -> Float[np.ndarray, "pairs rows"]:
    """The ranks within each pair, 1 for the highest score, ties sharing their average.

    >>> average_ranks(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 4.0]]))
    array([[1. , 3. , 2. ],
           [1.5, 1.5, 3. ]])
    """
    higher = (scores[:, :, None] < scores[:, None, :]).sum(axis=2)
    equal = (scores[:, :, None] == scores[:, None, :]).sum(axis=2)
    table: Float[np.ndarray, "pairs rows"] = higher + (equal + 1) / 2
    return table


def friedman(scores: Float[np.ndarray, "pairs rows"]) -> tuple[float, float]:
    """Friedman's chi-squared, corrected for ties, and its p; (0, 1) where all rows tie everywhere."""
    n, k = scores.shape
    table = average_ranks(scores)
    spread = float(((table - (k + 1) / 2) ** 2).sum()) / (k - 1)
    if spread == 0:
        return 0.0, 1.0
    statistic = float(((table.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()) / spread
    return statistic, chi_squared_tail(statistic, k - 1)


def chi_squared_tail(value: float, freedom: int) -> float:
    """The probability that chi-squared with so many degrees of freedom exceeds a value; a finite sum, no library.

    >>> round(chi_squared_tail(7.815, 3), 4), round(chi_squared_tail(5.991, 2), 4)
    (0.05, 0.05)
    """
    half, tail = value / 2, 0.0
    if freedom % 2:
        tail, terms = (
            math.erfc(math.sqrt(half)),
            [math.pow(half, n - 0.5) / math.gamma(n + 0.5) for n in range(1, freedom // 2 + 1)],
        )
    else:
        terms = [math.pow(half, n) / math.gamma(n + 1) for n in range(freedom // 2)]
    return tail + math.exp(-half) * sum(terms)


def pairwise_p(scores: Float[np.ndarray, "pairs rows"]) -> Float[np.ndarray, "rows rows"]:
    """Wilcoxon's signed-rank test of every two rows, Holm-corrected over all of them."""
    places = list(combinations(range(scores.shape[1]), 2))
    adjusted = holm([wilcoxon_p(scores[:, a], scores[:, b]) for a, b in places])
    matrix = np.ones((scores.shape[1], scores.shape[1]))
    for (a, b), p in zip(places, adjusted, strict=True):
        matrix[a, b] = matrix[b, a] = p
    return matrix


def cliques(pairwise: Float[np.ndarray, "rows rows"], significant: float = SIGNIFICANT) -> Sequence[tuple[int, int]]:
    """First and last place of the longest runs of two rows or more, no two of which differ significantly."""
    runs: list[tuple[int, int]] = []
    for first in range(len(pairwise)):
        last = first
        while last + 1 < len(pairwise) and (pairwise[first : last + 1, last + 1] >= significant).all():
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs
