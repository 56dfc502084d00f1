"""The default statistics: paired tests against the best row, a bootstrap of patients, the hardest entries."""

from collections.abc import Sequence
from functools import lru_cache
from math import erfc, sqrt

import numpy as np
from jaxtyping import Bool, Float, Int

from regbench.api import PairId, patient_of

HARDEST_SHARE = 0.3
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


def patient_weights(pairs: Sequence[PairId], *, resamples: int, seed: int = 0) -> Float[np.ndarray, "resamples pairs"]:
    """How often each pair counts in each bootstrap sample of the patients.

    Patients are drawn with replacement. A pair of two patients counts as often as one was drawn times as often as the
    other was; a pair within one patient counts as often as that patient was drawn.
    """
    return _patient_weights(tuple(pairs), resamples, seed)


@lru_cache(maxsize=16)
def _patient_weights(pairs: tuple[PairId, ...], resamples: int, seed: int) -> Float[np.ndarray, "resamples pairs"]:
    """The same for every row and metric of a board, so it is drawn once."""
    patients = sorted({patient_of(scan) for pair in pairs for scan in pair})
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
    """Percentile interval of the mean over pairs, by a bootstrap clustered by patient.

    Pairs that share a patient are not independent (45 pairs come from 10 patients), so patients are resampled, not
    pairs. Samples that hold no pair are left out; (NaN, NaN) where fewer than two patients have a value.

    Args:
        values: one a pair; NaN where there is none.
        pairs: the pairs, in the same order.
        level: how much of the bootstrap distribution lies inside.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.
    """
    scored = np.isfinite(values)
    kept = [pair for pair, has_value in zip(pairs, scored, strict=True) if has_value]
    if len({patient_of(scan) for pair in kept for scan in pair}) < 2:
        return float("nan"), float("nan")
    weights = patient_weights(kept, resamples=resamples, seed=seed)
    weights = weights[weights.any(axis=1)]
    means = weights @ values[scored] / weights.sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
