"""A row of a board: the runs of one configuration, pooled over their seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from regbench.leaderboard.measured import Measured, mean_over
from regbench.results import RunRecord

BASELINE = "identity"
BASELINE_TITLE = "Initial"


@dataclass(frozen=True, eq=False)
class Row:
    """One configuration of one method.

    Attributes:
        name: as the table prints it.
        runs: the records, one a seed, in the order of their seeds.
        values: metric → (seeds, pairs, labels), as in `Measured`; only metrics that every seed has.
        by_label: the metrics that have labels.
    """

    name: str
    runs: tuple[RunRecord, ...]
    values: Mapping[str, Float[np.ndarray, "seeds pairs _"]]
    by_label: frozenset[str]

    @property
    def record(self) -> RunRecord:
        """The first run's record, for all that the seeds share."""
        return self.runs[0]

    @property
    def is_initial(self) -> bool:
        """Whether this is the unregistered state."""
        return self.record.method.name == BASELINE and not self.record.refine

    @property
    def saw_test_labels(self) -> bool:
        """Whether true labels of test scans were at hand: an upper bound, not a result."""
        masks = self.record.masks
        return masks is not None and masks.saw_test_labels and masks.used == "training and test"

    @property
    def scored(self) -> Bool[np.ndarray, " pairs"]:
        """Which pairs have a value in every seed."""
        by_seed = [np.isfinite(table).any(axis=2) for table in self.values.values()]
        everywhere: Bool[np.ndarray, " pairs"] = np.logical_or.reduce(by_seed).all(axis=0)
        return everywhere

    @property
    def is_complete(self) -> bool:
        """Whether every pair of the protocol was scored."""
        return bool(self.values) and bool(self.scored.all())

    @property
    def is_ranked(self) -> bool:
        """Whether it may be called best: a complete row of a method that saw no true label of a test scan."""
        return self.is_complete and not self.is_initial and not self.saw_test_labels

    def per_pair(self, metric: str) -> Float[np.ndarray, " pairs"]:
        """The mean over labels of each pair, then the mean over seeds."""
        return mean_over(mean_over(self.values[metric], axis=2), axis=0)

    def per_label(self, metric: str) -> Float[np.ndarray, " labels"]:
        """The mean over pairs of each label, then the mean over seeds."""
        return mean_over(mean_over(self.values[metric], axis=1), axis=0)

    def mean(self, metric: str) -> float:
        """The mean over pairs of `per_pair`; NaN where the metric was not measured."""
        return float(mean_over(self.per_pair(metric), axis=0)) if metric in self.values else float("nan")

    def std(self, metric: str) -> float:
        """The standard deviation over pairs (n − 1) of `per_pair`; NaN with fewer than two pairs."""
        if metric not in self.values:
            return float("nan")
        values = self.per_pair(metric)
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    def seed_std(self, metric: str) -> float:
        """The standard deviation (n − 1) of the mean from seed to seed; NaN with fewer than two seeds."""
        if metric not in self.values or len(self.runs) < 2:
            return float("nan")
        return float(mean_over(mean_over(self.values[metric], axis=2), axis=1).std(ddof=1))

    def missing(self, metric: str, reference: "Row") -> int:
        """How many values the reference row has and this one lacks: structures that vanished in the warp."""
        if metric not in self.values or metric not in reference.values:
            return 0
        wanted = np.isfinite(reference.values[metric]).any(axis=0) & self.scored[:, None]
        return int((wanted & ~np.isfinite(self.values[metric])).sum())


def configuration_key(record: RunRecord) -> str:
    """What the runs of one row share: everything but the seed and the machine."""
    key: dict[str, object] = {
        "method": [record.method.name, record.method.distribution, record.method.version],
        "configuration": record.method.configuration,
        "masks": record.masks.model_dump(mode="json", exclude={"alone", "digest"}) if record.masks else None,
    }
    if record.refine:
        key["refine"] = record.refine
    if record.training:
        key |= {
            "preset": record.preset,
            "recipe": record.training.recipe,
            "budget": record.training.budget_seconds,
            "steps": None if record.training.budget_seconds else record.training.steps,
        }
    return json.dumps(key, sort_keys=True, default=str)


def pool(name: str, runs: Sequence[Measured]) -> Row:
    """A row from the finished runs of one configuration; of two with one seed, the later counts."""
    latest: dict[int, Measured] = {}
    for run in sorted(runs, key=lambda run: run.record.finished or run.record.started):
        latest[run.record.seed] = run
    chosen = [latest[seed] for seed in sorted(latest)]
    shared = [metric for metric in chosen[0].values if all(metric in run.values for run in chosen)]
    return Row(
        name=name,
        runs=tuple(run.record for run in chosen),
        values={metric: np.stack([run.values[metric] for run in chosen]) for metric in shared},
        by_label=frozenset().union(*(run.by_label for run in chosen)),
    )
