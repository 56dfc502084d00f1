"""Is a record what comes out now? Its files by their digests, its rows by computing them again."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan

from regbench.api import Metric
from regbench.api.progress import Progress, Silent
from regbench.engine.apart import threads_of
from regbench.engine.devices import machine
from regbench.engine.evaluation.evaluate import seen_pair
from regbench.engine.evaluation.scoring import score_fields
from regbench.engine.proof.given import FIELDS
from regbench.engine.proof.reopening import Reopened
from regbench.errors import StorageError
from regbench.results import CaseRow, MachineRecord, RunFolder, RunRecord, pair_name, read_cases

# Of a registration on another machine. Rounding moves few labels, but a small organ's by whole voxels: of 330 rows of a
# trained VoxelMorph, no row was further off than 0.2 % DSC and 0.02 mm with its convolutions in emulated TF32, and than
# 0.4 % and 0.25 mm in bfloat16.
_RELATIVE = 0.01
_ABSOLUTE = {"%": 0.5, "mm": 0.25, "voxel": 0.25}
_ABSOLUTE_OTHERWISE = 0.005
_SAME_FIELDS = 1e-6

Key = tuple[str, str, str, int | None]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a value may be from the recorded one: |now − recorded| ≤ absolute + relative · |recorded|.

    Attributes:
        reason: why it is so wide, in words.
        relative: a share of the recorded value.
        absolute: unit of the metric → how much of it.
        otherwise: for any other unit.
    """

    reason: str
    relative: float = 0.0
    absolute: Mapping[str, float] | None = None
    otherwise: float = 0.0

    def allows(self, recorded: float, now: float, unit: str) -> bool:
        """Whether two values count as the same; not a number is the same as itself, and so is an infinite one."""
        if not (isfinite(recorded) and isfinite(now)):
            return recorded == now or (isnan(recorded) and isnan(now))
        absolute = (self.absolute or {}).get(unit, self.otherwise)
        return abs(now - recorded) <= absolute + self.relative * abs(recorded)

    def __str__(self) -> str:
        if not (self.relative or self.absolute or self.otherwise):
            return f"every bit ({self.reason})"
        parts = [f"{amount:g} {unit}".rstrip() for unit, amount in (self.absolute or {}).items()]
        parts += [f"{self.otherwise:g} of anything else" if parts else f"{self.otherwise:g}"] if self.otherwise else []
        parts += [f"{self.relative:.3g} of the value"] if self.relative else []
        return f"{', '.join(parts)} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what comes out now.

    Attributes:
        key: pair, metric and label, in words.
        recorded: the value of the record; None where it has none.
        now: the value that came out; None where none did.
    """

    key: str
    recorded: float | None
    now: float | None


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        faults: one sentence for each file, or metric, that is not as the record has it.
        notes: what a reader should know and is no fault.
        source: where the fields came from, in words.
        tolerance: of a row.
        rows: rows that were compared, in the record or out of it.
        equal: those of them that are equal to the last bit.
        differing: those that differ by more than the tolerance.
        largest: metric → the largest difference of its rows; infinite where one is missing.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    source: str
    tolerance: Tolerance
    rows: int
    equal: int
    differing: tuple[Difference, ...]
    largest: Mapping[str, float]

    @property
    def holds(self) -> bool:
        """Whether the record is what comes out now."""
        return not self.faults and not self.differing


def verify(
    run: Reopened,
    metrics: Mapping[str, Metric],
    *,
    register: bool = False,
    tolerance: float | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Compare a run's record with its files, and its rows with what its fields score now.

    Stored fields are scored; where there are none the pairs are registered again, with the run's weights.

    Args:
        run: opened again, which has checked scans, protocol and plugins.
        metrics: name → metric, of what is installed.
        register: register again even where fields are stored.
        tolerance: of every row, in its metric's unit; None: what can be expected of the machine.
        progress: who is told.

    Raises:
        RequestError, RunError: where the run cannot be scored at all.
    """
    faults, notes = check_files(run.folder, run.record)
    stored = not register and all(run.stored_field(pair) for pair in run.pairs)
    known = {name: metrics[name] for name in run.record.metrics if name in metrics}
    rows = read_cases(run.folder.cases)
    faults += [*_twice(rows), *_misnamed(run), *_left_out(run)]
    source = run.field if stored else run.registered
    with threads_of(run.record.machine, run.cohort.device):
        scored = score_fields(source, run.cohort, run.pairs, known, progress or Silent())
    weights = " with the run's weights" if run.record.method.trainable else ""
    return _compared(
        run.record,
        _by_key(row for row in rows if row.metric in known),
        _by_key(scored),
        tolerance=_tolerance(run, stored=stored, wanted=tolerance),
        faults=faults,
        notes=[*notes, *_unknown_metrics(rows, known), *run.notes, *_circumstances(run)],
        source="the fields that the run kept" if stored else f"the pairs, registered again{weights}",
    )


def check_files(folder: RunFolder, record: RunRecord) -> tuple[list[str], list[str]]:
    """What of a run's files is not as its record says: faults, and notes on files that are merely not there.

    Raises:
        StorageError: where there is no cases.csv, or the record names no files.
    """
    if folder.cases.name not in record.files:
        raise StorageError(f"The record of run {record.run_id} has no digest of its cases.csv; run it again.")
    if not folder.cases.is_file():
        raise StorageError(f"{folder.cases} is missing; restore it, or run it again with --force.")
    here = folder.digests()
    faults = [
        f"{name} is not the file that the run wrote: its sha256 is {here[name][:12]}…, the record has {digest[:12]}…."
        for name, digest in record.files.items()
        if here.get(name, digest) != digest
    ]
    strangers = [name for name in here if name not in record.files]
    faults += [f"{name} is not of the run: the record does not name it." for name in strangers if "/" in name]
    absent = [name for name in record.files if name not in here]
    notes = [f"Not there, and so not checked: {', '.join(absent)}."] if absent else []
    return faults, notes


def _by_key(rows: Iterable[CaseRow]) -> dict[Key, float]:
    """(pair, metric, …) → value; pairs by the names of their scans, so that a row moved to another pair is found."""
    return {(f"{row.fixed} <- {row.moving}", row.metric, row.pair, row.label): row.value for row in rows}


def _unknown_metrics(rows: Iterable[CaseRow], known: Collection[str]) -> list[str]:
    counts = Counter(row.metric for row in rows if row.metric not in known)
    return [f"There is no metric '{name}' here: its {n} rows are not checked." for name, n in counts.items()]


def _twice(rows: Iterable[CaseRow]) -> list[str]:
    counts = Counter((row.fixed, row.moving, row.metric, row.label) for row in rows)
    return [f"cases.csv has {count} rows of {metric}{_of(label)} for {fixed} <- {moving}; expected one."
            for (fixed, moving, metric, label), count in counts.items() if count > 1]  # fmt: skip


def _misnamed(run: Reopened) -> list[str]:
    """What the record calls its row and its method, where that is not what they are."""
    row, said = run.record.row, run.record.method
    faults = []
    if not re.fullmatch(re.escape(said.name) + r"(\[.*\])?( \+ .*)?", row):
        faults.append(f"The record calls its row '{row}'; it was run with the method '{said.name}'.")
    if said.distribution != FIELDS and said.title != run.method.card.title:
        faults.append(f"The record calls '{said.name}' '{said.title}'; its title is '{run.method.card.title}'.")
    return faults


def _left_out(run: Reopened) -> list[str]:
    """Pairs that the record says were skipped, and that the method registers."""
    return [f"The pair {pair_name(pair)} was not skipped: the method registers it."
            for pair, _ in run.record.pairs_skipped
            if run.method.skip(seen_pair(run.method, run.cohort, pair)) is None]  # fmt: skip


def _compared(
    record: RunRecord,
    recorded: dict[Key, float],
    now: dict[Key, float],
    *,
    tolerance: Tolerance,
    faults: Sequence[str],
    notes: Sequence[str],
    source: str,
) -> Verdict:
    equal, differing, largest = 0, [], dict.fromkeys((key[1] for key in now | recorded), 0.0)
    for key in now | recorded:
        before, after = recorded.get(key), now.get(key)
        if before is None or after is None:
            agrees, apart = False, float("inf")
        else:
            agrees = tolerance.allows(before, after, record.metrics[key[1]].unit)
            apart = abs(after - before) if isfinite(before) and isfinite(after) else (0.0 if agrees else float("inf"))
            equal += apart == 0
        largest[key[1]] = max(largest[key[1]], apart)
        if not agrees:
            differing.append(Difference(f"{key[0]}, {key[1]}{_of(key[3])}", before, after))
    return Verdict(
        faults=tuple(faults),
        notes=tuple(notes),
        source=source,
        tolerance=tolerance,
        rows=len(now | recorded),
        equal=equal,
        differing=tuple(differing),
        largest=largest,
    )


def _of(label: int | None) -> str:
    return "" if label is None else f" of label {label}"


def _tolerance(run: Reopened, *, stored: bool, wanted: float | None) -> Tolerance:
    """What can be expected: the same bits where the same machine computes the same, and little less of equal fields."""
    if wanted is not None:
        return Tolerance("as asked for", otherwise=wanted)
    before = run.record.machine
    here = machine(run.cohort.device, before.precision)
    alike = _same(before, here)
    if alike and (stored or (before.deterministic and here.deterministic)):
        return Tolerance("the machine of the run")
    if stored:
        return Tolerance("the same fields on another machine", relative=_SAME_FIELDS, otherwise=_SAME_FIELDS)
    why = "a device that does not repeat its bits" if alike else "registered on another machine than the run's"
    return Tolerance(why, relative=_RELATIVE, absolute=_ABSOLUTE, otherwise=_ABSOLUTE_OTHERWISE)


def _same(before: MachineRecord, here: MachineRecord) -> bool:
    telling = {"system", "processor", "accelerator", "torch", "cuda", "tf32"}
    return before.model_dump(include=telling) == here.model_dump(include=telling)


def _circumstances(run: Reopened) -> list[str]:
    before = run.record.machine
    here = machine(run.cohort.device, before.precision)
    said = []
    if not _same(before, here):
        ran = before.accelerator or before.processor
        said.append(f"The run was made on another machine: {ran}, torch {before.torch}.")
    skipped = [pair_name(pair) for pair, _ in run.record.pairs_skipped]
    if skipped:
        said.append(f"The run skipped {len(skipped)} pairs, which have no rows: {', '.join(skipped[:5])}.")
    return said
