"""Register the test pairs, time it, and score the fields."""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from regbench.api import Case, Field, Method, Metric, Pair, PairId, Volume
from regbench.data import Cohort, write_field
from regbench.engine.apart import apart
from regbench.engine.devices import cores, synchroniser
from regbench.engine.meter import MemoryMeter, Pace
from regbench.engine.progress import Progress, Tick, during
from regbench.engine.seeds import derive, own_randomness
from regbench.errors import RegbenchError, RunError
from regbench.results import CaseRow, pair_name
from regbench.spatial import jacobian_determinant, warp_labels

Register = Callable[[Pair], Field]

_MOST_SCORED = 8


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out.

    Attributes:
        rows: in the order of the protocol's pairs, the metrics and the labels.
        skipped: pair → why the method was out of scope for it.
        seconds_per_pair: median, without the first pair, which warms up; None where all were skipped.
        peak_memory_mib: while registering.
    """

    rows: tuple[CaseRow, ...]
    skipped: tuple[tuple[PairId, str], ...]
    seconds_per_pair: float | None
    peak_memory_mib: float


@dataclass(frozen=True, slots=True)
class _Registered:
    pair: PairId
    field: Field


def skipped_pairs(method: Method, cohort: Cohort) -> tuple[tuple[PairId, str], ...]:
    """The test pairs that are out of scope for a method, with its reasons."""
    reasons = [(pair, method.skip(seen_pair(method, cohort, pair))) for pair in cohort.protocol.test_pairs]
    return tuple((pair, reason) for pair, reason in reasons if reason is not None)


def seen_pair(method: Method, cohort: Cohort, pair: PairId) -> Pair:
    """What a method sees of a pair at test, apart from the cohort: masks only if it always looks at them."""
    seen = cohort.pair(pair) if method.masks == "always" else cohort.pair(pair).without_masks()
    return Pair(
        fixed=apart(seen.fixed),
        moving=apart(seen.moving),
        fixed_mask=seen.fixed_mask and apart(seen.fixed_mask),
        moving_mask=seen.moving_mask and apart(seen.moving_mask),
        labels=seen.labels,
    )


def evaluate(
    method: Method,
    register: Register,
    cohort: Cohort,
    metrics: Mapping[str, Metric],
    progress: Progress,
    *,
    seed: int = 0,
    fields: Path | None = None,
) -> Evaluation:
    """Register every test pair of a cohort and score it.

    Nothing else runs while a pair is registered, so that its seconds are its own; the metrics of the pairs since are
    then computed at once, on as many threads as there are cores.

    Args:
        method: whose scope and masks count.
        register: what is timed: a pair in, its field out.
        cohort: with the truth.
        metrics: name → metric.
        progress: is told of a phase "evaluate".
        seed: torch's generators are seeded with it before every pair.
        fields: the folder to keep the fields in, made anew; None: they are not kept.

    Raises:
        RunError: if a field is not finite or does not lie on its pair's grid, or a metric fails.
    """
    evaluation = _Evaluating(method, register, cohort, metrics, progress, seed, fields)
    total = float(len(cohort.protocol.test_pairs))
    with during("evaluate", progress, total, "pair"), own_randomness(cohort.device):
        return evaluation.all()


class _Evaluating:
    def __init__(
        self,
        method: Method,
        register: Register,
        cohort: Cohort,
        metrics: Mapping[str, Metric],
        progress: Progress,
        seed: int,
        fields: Path | None,
    ) -> None:
        self.method, self.register, self.cohort, self.metrics = method, register, cohort, metrics
        self.progress, self.seed, self.fields = progress, seed, fields
        self.peak_mib, self.pace = 0.0, Pace(0.2)
        self.wait = synchroniser(cohort.device)
        self.seconds: list[float] = []
        self.done = 0
        self.rows: dict[PairId, list[CaseRow]] = {}

    def all(self) -> Evaluation:
        skipped = skipped_pairs(self.method, self.cohort)
        if self.fields is not None:
            shutil.rmtree(self.fields, ignore_errors=True)
        out_of_scope = {pair for pair, _ in skipped}
        pairs = [pair for pair in self.cohort.protocol.test_pairs if pair not in out_of_scope]
        workers = scored_at_a_time()
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for group in groups(pairs, workers):
                registered = [_Registered(pair, self._register(pair)) for pair in group]
                by_pair = {one.pair: one.field for one in registered}
                reverse = [by_pair.get(PairId(one.pair.moving, one.pair.fixed)) for one in registered]
                for one, rows in zip(registered, pool.map(self._score, registered, reverse), strict=True):
                    self.rows[one.pair] = rows
        return Evaluation(
            rows=tuple(row for pair in pairs for row in self.rows[pair]),
            skipped=skipped,
            seconds_per_pair=statistics.median(self.seconds[1:] or self.seconds) if self.seconds else None,
            peak_memory_mib=self.peak_mib,
        )

    def _register(self, pair: PairId) -> Field:
        seen = seen_pair(self.method, self.cohort, pair)
        torch.manual_seed(derive(self.seed, "pair", self.done))
        memory = MemoryMeter(self.cohort.device)  # of its own: metrics were computed since the pairs before
        self.wait()
        begun = time.perf_counter()
        try:
            field = self.register(seen)
        except Exception as error:
            error.add_note(f"pair {pair_name(pair)}")
            raise
        self.wait()
        self.seconds.append(time.perf_counter() - begun)
        self.peak_mib = max(self.peak_mib, memory.peak_mib)
        self.done += 1
        if self.pace.due(self.done):
            self._tick()
        return checked(field, self.cohort.pair(pair), pair_name(pair), self.cohort.device)

    def _tick(self) -> None:
        left = len(self.cohort.protocol.test_pairs) - self.done
        rate = self.pace.per_second
        self.progress.advanced(
            Tick(
                done=float(self.done),
                per_second=rate,
                seconds_left=left / rate if rate else None,
                peak_memory_mib=self.peak_mib,
            )
        )

    def _score(self, registered: _Registered, reverse: Field | None) -> list[CaseRow]:
        pair, field = registered.pair, registered.field
        if self.fields is not None:
            write_field(self.fields / f"disp_{pair_name(pair)}.nii.gz", field)
        return score(field, self.cohort, pair, self.metrics, reverse)


def score(
    field: Field, cohort: Cohort, pair: PairId, metrics: Mapping[str, Metric], reverse: Field | None = None
) -> list[CaseRow]:
    """The rows of one registered pair, metric by metric; see `case_of`.

    Raises:
        RunError: if a metric fails, or writes to its case, which the others and other pairs are scored by.
    """
    case = case_of(field, cohort, pair, reverse)
    maps = (case.truth.fixed_labels, case.truth.moving_labels, case.moved_labels)
    shared = [field.displacement, *(volume.data for volume in maps)]
    before = [tensor.clone() for tensor in shared]
    rows = [row for name, metric in metrics.items() for row in _measure(name, metric, case, pair)]
    if not all(torch.equal(*both) for both in zip(shared, before, strict=True)):
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


def checked(field: object, seen: Pair, name: str, device: torch.device) -> Field:
    """The field in float32 on the cohort's device, apart from what the method gave.

    Args:
        field: what a method gave.
        seen: the pair that it was to register.
        name: the pair's, for the error.
        device: the cohort's.

    Raises:
        RunError: if it is no such field.
    """
    if not isinstance(field, Field):
        raise RunError(f"For pair {name} the method gave a {type(field).__name__}; expected a Field.")
    if not isinstance(field.displacement, torch.Tensor):
        raise RunError(f"For pair {name} the field holds a {type(field.displacement).__name__}; expected a Tensor.")
    if not field.grid.matches(seen.grid):
        raise RunError(f"The field of pair {name} is on another grid than its fixed scan; expected `pair.grid`.")
    u = field.displacement.detach().to(device, torch.float32, copy=True)
    strange = int((~torch.isfinite(u)).sum())
    if strange:
        raise RunError(f"The field of pair {name} is not finite in {strange} of {u.numel()} values.")
    return Field(u, seen.grid)


def in_order(pairs: Sequence[PairId]) -> list[PairId]:
    """Pairs in the order in which they are registered."""
    return [pair for group in groups(pairs, 1) for pair in group]


def scored_at_a_time() -> int:
    """Pairs that are scored side by side; so many fields are held on the device until they are."""
    return min(cores(), _MOST_SCORED)


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
