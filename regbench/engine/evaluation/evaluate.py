"""Register the test pairs, time it, and score the fields."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from regbench.api import Field, Method, Metric, Pair, PairId
from regbench.api.progress import Progress, Tick, during
from regbench.data import Cohort, remove_folder, write_field
from regbench.engine.apart import apart
from regbench.engine.devices import synchroniser
from regbench.engine.evaluation.scoring import groups, rows_by_pair
from regbench.engine.meter import MemoryMeter, Pace
from regbench.engine.seeds import derive, own_randomness
from regbench.errors import RunError
from regbench.results import CaseRow, pair_name

Register = Callable[[Pair], Field]


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
        StorageError: if the folder cannot be made anew.
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

    def all(self) -> Evaluation:
        skipped = skipped_pairs(self.method, self.cohort)
        if self.fields is not None:
            remove_folder(self.fields)
        out_of_scope = {pair for pair, _ in skipped}
        pairs = [pair for pair in self.cohort.protocol.test_pairs if pair not in out_of_scope]
        keep = None if self.fields is None else partial(_write, self.fields)
        rows = dict(rows_by_pair(self._register, self.cohort, pairs, self.metrics, keep))
        return Evaluation(
            rows=tuple(row for pair in pairs for row in rows[pair]),
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


def _write(folder: Path, pair: PairId, field: Field) -> None:
    write_field(folder / f"disp_{pair_name(pair)}.nii.gz", field)


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
