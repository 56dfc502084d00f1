"""Score fields, whoever makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import UInt8
from torch import Tensor

from regbench.api import Case, Field, Metric, PairId, Volume
from regbench.api.progress import Progress, Tick, during
from regbench.data import Cohort
from regbench.engine.devices import cores
from regbench.errors import RegbenchError, RunError
from regbench.results import CaseRow, pair_name
from regbench.spatial import jacobian_determinant, warp_labels

FieldOf = Callable[[PairId], Field]
Keep = Callable[[PairId, Field], None]

_MOST_SCORED = 8


def score_fields(
    field_of: FieldOf,
    cohort: Cohort,
    pairs: Sequence[PairId],
    metrics: Mapping[str, Metric],
    progress: Progress,
    keep: Keep | None = None,
) -> tuple[CaseRow, ...]:
    """Every row of some pairs, as `evaluate` computes them.

    Args:
        field_of: the field of a pair, on the fixed scan's grid and the cohort's device; asked once for each pair.
        cohort: with the truth.
        pairs: which.
        metrics: name → metric.
        progress: is told of a phase "evaluate".
        keep: is given each field, in any thread.

    Returns:
        In the order of the pairs, the metrics and the labels.

    Raises:
        RunError: if a metric fails.
    """
    rows: dict[PairId, list[CaseRow]] = {}
    with during("evaluate", progress, float(len(pairs)), "pair"):
        for pair, found in rows_by_pair(field_of, cohort, pairs, metrics, keep):
            rows[pair] = found
            progress.advanced(Tick(done=float(len(rows))))
    return tuple(row for pair in pairs for row in rows[pair])


def rows_by_pair(
    field_of: FieldOf, cohort: Cohort, pairs: Sequence[PairId], metrics: Mapping[str, Metric], keep: Keep | None = None
) -> Iterator[tuple[PairId, list[CaseRow]]]:
    """The rows of each pair; see `score_fields`.

    Fields are asked for one by one with nothing else at work, then those of a group are scored side by side.
    """
    workers = min(cores(), _MOST_SCORED)  # so many fields are held on the device until they are scored
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for group in groups(pairs, workers):
            fields = {pair: field_of(pair) for pair in group}

            def scored(pair: PairId, fields: Mapping[PairId, Field] = fields) -> list[CaseRow]:
                if keep is not None:
                    keep(pair, fields[pair])
                return _score(fields[pair], cohort, pair, metrics, fields.get(PairId(pair.moving, pair.fixed)))

            yield from zip(group, pool.map(scored, group), strict=True)


def groups(pairs: Sequence[PairId], least: int) -> Iterator[list[PairId]]:
    """Pairs in groups of at least so many (but for the last), a pair always together with its reverse."""
    left = dict.fromkeys(pairs)
    group: list[PairId] = []
    while left:
        pair = next(iter(left))
        reverse = PairId(pair.moving, pair.fixed)
        together = dict.fromkeys(one for one in (pair, reverse) if one in left)
        for one in together:
            del left[one]
        group += together
        if len(group) >= least:
            yield group
            group = []
    if group:
        yield group


def _score(
    field: Field, cohort: Cohort, pair: PairId, metrics: Mapping[str, Metric], reverse: Field | None
) -> list[CaseRow]:
    """The rows of one registered pair, metric by metric; see `case_of`.

    Raises:
        RunError: if a metric fails, or writes to its case, which the others and other pairs are scored by.
    """
    case = case_of(field, cohort, pair, reverse)
    before = [bits.clone() for bits in contents(case)]
    rows = [row for name, metric in metrics.items() for row in _measure(name, metric, case, pair)]
    if not all(torch.equal(*both) for both in zip(contents(case), before, strict=True)):
        raise RunError(
            f"A metric wrote to the case of pair {pair_name(pair)}; find it with 'regbench check metric NAME'."
        )
    return rows


def case_of(field: Field, cohort: Cohort, pair: PairId, reverse: Field | None = None) -> Case:
    """A registered pair as a metric sees it.

    Args:
        field: the result, on the fixed grid.
        cohort: with the truth.
        pair: which.
        reverse: the field of the pair with the roles exchanged, where there is one.
    """
    truth = cohort.truth(pair)
    return Case(
        field=field,
        truth=truth,
        moved_labels=Volume(warp_labels(truth.moving_labels.data, field.displacement), field.grid),
        determinant=jacobian_determinant(field.displacement),
        reverse=reverse,
    )


def contents(case: Case) -> list[UInt8[Tensor, "..."]]:
    """The bytes of every tensor of a case, to see whether a metric wrote to one."""
    truth, reverse = case.truth, case.reverse
    tensors = [volume.data for volume in (truth.fixed_labels, truth.moving_labels, case.moved_labels)]
    tensors += [case.field.displacement, case.determinant]
    tensors += [truth.landmarks.fixed, truth.landmarks.moving] if truth.landmarks else []
    tensors += [reverse.displacement] if reverse else []
    return [tensor.contiguous().view(torch.uint8) for tensor in tensors]


def _measure(name: str, metric: Metric, case: Case, pair: PairId) -> list[CaseRow]:
    try:
        values = {label if label is None else int(label): float(value) for label, value in metric.measure(case).items()}
    except RegbenchError:
        raise
    except Exception as error:
        raise RunError(
            f"The metric {name} failed on pair {pair_name(pair)}: {type(error).__name__}: {error}"
        ) from error
    return [CaseRow(pair_name(pair), *pair, name, label, value) for label, value in values.items()]
