"""Score fields that are there already, or are made one by one by whoever has them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from regbench.api import Field, Metric, PairId
from regbench.data import Cohort
from regbench.engine.evaluation.evaluate import groups, score, scored_at_a_time
from regbench.engine.progress import Progress, Tick, during
from regbench.results import CaseRow


def score_fields(
    field_of: Callable[[PairId], Field],
    cohort: Cohort,
    pairs: Sequence[PairId],
    metrics: Mapping[str, Metric],
    progress: Progress,
) -> tuple[CaseRow, ...]:
    """Every row of some pairs, as `evaluate` computes them.

    Args:
        field_of: the field of a pair, on the fixed scan's grid and the cohort's device; asked once for each pair.
        cohort: with the truth.
        pairs: which.
        metrics: name → metric.
        progress: is told of a phase "evaluate".

    Returns:
        In the order of the pairs, the metrics and the labels.

    Raises:
        RunError: if a metric fails.
    """
    rows: dict[PairId, list[CaseRow]] = {}
    workers = scored_at_a_time()
    threads = ThreadPoolExecutor(max_workers=workers)
    with during("evaluate", progress, float(len(pairs)), "pair"), threads as pool:
        for group in groups(pairs, workers):
            fields = {pair: field_of(pair) for pair in group}

            def scored(pair: PairId, fields: Mapping[PairId, Field] = fields) -> list[CaseRow]:
                return score(fields[pair], cohort, pair, metrics, fields.get(PairId(pair.moving, pair.fixed)))

            rows |= zip(group, pool.map(scored, group), strict=True)
            progress.advanced(Tick(done=float(len(rows))))
    return tuple(row for pair in pairs for row in rows[pair])
