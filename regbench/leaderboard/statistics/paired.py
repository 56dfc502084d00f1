"""The default statistics: paired tests against the best row, a bootstrap of patients, the hardest entries."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import cos, erfc, pi, sin, sqrt

import numpy as np
from jaxtyping import Bool, Float, Int

from regbench.api import PairId, patient_of

HARDEST_SHARE = 0.3
SIGNIFICANT = 0.05
_EXACT_UP_TO = 50


def wilcoxon_p(a: Float[np.ndarray, " pairs"], b: Float[np.ndarray, " pairs"]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on pairs that both have; NaN with fewer than two of them.

    Pairs without a difference are dropped, as Wilcoxon (1945) did. Exact for up to 50 differences, ties included; by
    the normal approximation, corrected for ties, for more. (Here and not from scipy.stats, whose import takes longer
    than all the rest of a board.)
    """
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 2:
        return float("nan")
    differences = (a - b)[both]
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    doubled = _doubled_ranks(np.abs(differences))
    positive = int(doubled[differences > 0].sum())
    return _exact_p(doubled, positive) if len(doubled) <= _EXACT_UP_TO else _normal_p(doubled, positive)


def _doubled_ranks(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Twice the ranks, ties sharing their average: whole numbers."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Int[np.ndarray, " n"] = (2 * last - counts + 1)[place]
    return ranks


def _exact_p(doubled: Int[np.ndarray, " n"], positive: int) -> float:
    """The share of the 2^n sign patterns whose rank sum lies at least as far from its middle as the observed one."""
    total = int(doubled.sum())
    patterns = np.zeros(total + 1)
    patterns[0] = 1
    for rank in doubled:
        patterns[rank:] += patterns[: total + 1 - rank].copy()
    distance = np.abs(2 * np.arange(total + 1) - total)
    return float(patterns[distance >= abs(2 * positive - total)].sum() / patterns.sum())


def _normal_p(doubled: Int[np.ndarray, " n"], positive: int) -> float:
    _, counts = np.unique(doubled, return_counts=True)
    n = len(doubled)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((counts**3 - counts).sum()) / 48
    z = (positive / 2 - n * (n + 1) / 4) / sqrt(variance)
    return erfc(abs(z) / sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for several tests by Holm's step-down method (1979); NaN stays NaN and is not counted.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in adjusted]


def too_few(pairs: int, tests: int) -> list[str]:
    """A sentence where so many signed-rank tests on so few pairs cannot tell rows apart, whatever their values."""
    if 2 * 0.5**pairs * tests <= SIGNIFICANT:
        return []
    return [f"With {pairs} pairs and {tests} tests no p can be below {SIGNIFICANT}: too few to tell rows apart."]


def patients_of(pairs: Iterable[PairId]) -> list[str]:
    """The patients that are in some pairs, sorted."""
    return sorted({patient_of(scan) for pair in pairs for scan in pair})


def patient_weights(pairs: Sequence[PairId], *, resamples: int, seed: int = 0) -> Float[np.ndarray, "resamples pairs"]:
    """How often each pair counts in each bootstrap sample of the patients.

    Patients are drawn with replacement. A pair of two patients counts as often as one was drawn times as often as the
    other was; a pair within one patient counts as often as that patient was drawn.
    """
    return _patient_weights(tuple(pairs), resamples, seed)


@lru_cache(maxsize=16)
def _patient_weights(pairs: tuple[PairId, ...], resamples: int, seed: int) -> Float[np.ndarray, "resamples pairs"]:
    """The same for every row and metric of a board, so it is drawn once."""
    patients = patients_of(pairs)
    place = {patient: n for n, patient in enumerate(patients)}
    fixed = np.array([place[patient_of(pair.fixed)] for pair in pairs])
    moving = np.array([place[patient_of(pair.moving)] for pair in pairs])
    drawn = np.random.default_rng(seed).multinomial(
        len(patients), np.full(len(patients), 1 / len(patients)), size=resamples
    )
    weights: Float[np.ndarray, "resamples pairs"] = np.where(
        fixed == moving, drawn[:, fixed], drawn[:, fixed] * drawn[:, moving]
    ).astype(np.float64)
    weights.flags.writeable = False
    return weights


def patient_interval(
    values: Float[np.ndarray, " pairs"],
    pairs: Sequence[PairId],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the mean over pairs, by a bootstrap clustered by patient.

    Pairs that share a patient are not independent (45 pairs come from 10 patients), so patients are resampled, not
    pairs. The bounds are percentiles, taken further out for few patients (`tail_share`). Samples that hold no pair are
    left out; (NaN, NaN) where fewer than two patients have a value.

    Args:
        values: one a pair; NaN where there is none.
        pairs: the pairs, in the same order.
        level: how often such an interval is to hold the true mean.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.
    """
    scored = np.isfinite(values)
    kept = [pair for pair, has_value in zip(pairs, scored, strict=True) if has_value]
    patients = len(patients_of(kept))
    if patients < 2:
        return float("nan"), float("nan")
    weights = patient_weights(kept, resamples=resamples, seed=seed)
    weights = weights[weights.any(axis=1)]
    means = weights @ values[scored] / weights.sum(axis=1)
    share = tail_share(level, patients)
    low, high = np.quantile(means, [share, 1 - share])
    return float(low), float(high)


def tail_share(level: float, patients: int) -> float:
    """How much of the bootstrap distribution is to lie beyond each bound, for so many patients.

    The expanded percentile interval of T. Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 69, 2015: as far out as Student's t and the sample's n − 1 ask for. Plain percentiles are too narrow:
    of ten patients, those of 95 % hold the true mean nine times in ten.

    >>> round(tail_share(0.95, 10), 4), round(tail_share(0.95, 100_000), 4)
    (0.0086, 0.025)
    """
    t = student_quantile((1 - level) / 2, patients - 1)
    return erfc(t * sqrt(patients / (patients - 1)) / sqrt(2)) / 2


def student_quantile(tail: float, freedom: int) -> float:
    """What Student's t with so many degrees of freedom exceeds with this probability, of at most a half.

    >>> round(student_quantile(0.025, 9), 3)
    2.262
    """
    low, high = 0.0, pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _student_tail(angle, freedom) > tail else (low, angle)
    return sqrt(freedom) * sin(low) / cos(low)


def _student_tail(angle: float, freedom: int) -> float:
    """P(t > √freedom · tan angle), by a finite sum: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    odd = freedom % 2
    term, total = (cos(angle) if odd else 1.0), 0.0
    for n in range(freedom // 2):
        total += term
        term *= cos(angle) ** 2 * (2 * n + 1 + odd) / (2 * n + 2 + odd)
    inside = 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
    return (1 - inside) / 2


def hardest(
    initial: Float[np.ndarray, "pairs labels"], share: float = HARDEST_SHARE
) -> Bool[np.ndarray, "pairs labels"]:
    """The pair × label entries with the lowest Initial Dice, the given share of those that were scored."""
    flat = initial.reshape(-1)
    scored = int(np.isfinite(flat).sum())
    chosen = np.zeros(flat.shape, dtype=bool)
    # NaN sorts last, so that what was not scored is never among the first.
    chosen[np.argsort(flat, kind="stable")[: round(scored * share)]] = True
    return chosen.reshape(initial.shape)
