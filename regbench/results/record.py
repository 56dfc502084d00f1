"""The record of a run: everything that a reader needs to believe its numbers."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from regbench.api import PairId, Protocol

SCHEMA_VERSION = 1

Status = Literal["running", "done", "failed", "interrupted", "skipped"]
CohortKind = Literal["phantom", "real"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecord(_Part):
    """Which data.

    Attributes:
        kind: a phantom cohort or real scans; the two never share a table.
        fingerprint: digest of the content of every file that the protocol uses.
        pairs: digest of the training, validation and test pair lists.
        settings: the task's fields that differ from their defaults.
    """

    kind: CohortKind
    fingerprint: str
    pairs: str
    settings: Mapping[str, Any] = Field(default_factory=dict)


class MethodRecord(_Part):
    """Which method, in which configuration.

    Attributes:
        name: in the registry.
        title: as a table prints it.
        distribution: the distribution (or file) that brings it.
        version: that distribution's version, or the file's digest.
        configuration: every field; of a file or folder, its name, an @ and a digest of its content, never its path.
        changed: the fields that differ from their defaults.
        citation: BibTeX.
        masks: when the method looks at masks.
        trainable: whether it has a network that was trained.
        source: digest of the files that it is written in; None in older records, and of fields made elsewhere.
    """

    name: str
    title: str
    distribution: str
    version: str
    configuration: Mapping[str, Any]
    changed: Mapping[str, Any] = Field(default_factory=dict)
    citation: str = ""
    masks: Literal["never", "training", "always"] = "never"
    trainable: bool = False
    source: str | None = None


class MasksRecord(_Part):
    """Which masks, where they were used, and what their source has seen.

    Attributes:
        digest: of the label maps of all scans of the cohort; None in older records.
        alone: test scan → label → Dice of the mask with the truth, in percent, where the method saw masks at test.
    """

    name: str
    title: str
    distribution: str
    version: str
    configuration: Mapping[str, Any]
    saw_test_images: bool
    saw_test_labels: bool
    trained_on: str = ""
    used: Literal["training", "training and test"]
    digest: str | None = None
    alone: Mapping[str, Mapping[int, float]] = Field(default_factory=dict)


class MachineRecord(_Part):
    """Where it ran. Of this, only the precision and the device's kind count for the run's id.

    Attributes:
        system: the operating system.
        processor: the CPU.
        cores: how many the process may use.
        threads: on how many torch computed; None in older records.
        accelerator: the GPU, or None where a CPU computed.
        python: version.
        torch: version.
        cuda: version, or None.
        precision: of the training; pairs are registered and scored in float32.
        tf32: whether the GPU may round float32 factors to TensorFloat-32.
        deterministic: whether a repetition gives the same bits.
        git: the commit of the method's working tree, with a plus sign if it has changes; None if it is in none.
    """

    system: str
    processor: str
    cores: int
    threads: int | None = None
    accelerator: str | None
    python: str
    torch: str
    cuda: str | None
    precision: Literal["float32", "bfloat16"]
    tf32: bool
    deterministic: bool
    git: str | None


class CostRecord(_Part):
    """What it cost.

    Attributes:
        wall_seconds: phase ("prepare", "masks", "train", "evaluate") → seconds, over all sittings.
        seconds_per_pair: median over the test pairs, after a warm-up, synchronised.
        peak_memory_mib: of the training, or of the evaluation where nothing is trained; on a GPU what was allocated
            there, on a CPU the process's resident set, the interpreter and its libraries included.
        parameters: of the network; None where there is none.
    """

    wall_seconds: Mapping[str, float] = Field(default_factory=dict)
    seconds_per_pair: float | None = None
    peak_memory_mib: float | None = None
    parameters: int | None = None


class TrainingRecord(_Part):
    """How the network was trained, and how far it came.

    Attributes:
        recipe: as used.
        steps: planned; with a time budget, those that it sufficed for.
        steps_done: so far.
        budget_seconds: of training, or None where the steps are given.
        best_step: after which the validation score was best.
        best_validation: that score: the mean DSC of the validation pairs, in percent.
    """

    recipe: Mapping[str, Any]
    steps: int
    steps_done: int = 0
    budget_seconds: float | None = None
    best_step: int | None = None
    best_validation: float | None = None


def flat_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values, as JSON data, by the names that `--set recipe.NAME` takes."""
    flat = {name: value for name, value in recipe.items() if name not in ("optimisation", "weights")}
    flat |= recipe.get("optimisation", {})
    return flat | {f"weights.{term}": weight for term, weight in recipe.get("weights", {}).items()}


class RunRecord(_Part):
    """run.json; the file's `seal` is no field: the store writes it, a digest of all else, and looks whether it is true.

    Attributes:
        run_id: digest of all that could change a score, and the seed.
        row: the row's name on the board: method, overrides, " + masks", " + refine".
        protocol: the whole protocol as used, its grid included.
        refine: steps of instance optimisation that followed each registration at test; 0: none.
        status: "running" while a process holds the run; a record left so by a dead process reads as "interrupted".
        reason: why it failed or was skipped.
        pairs_skipped: pair → why the method was out of scope for it.
        metrics: name → unit, direction and digits of every metric in cases.csv.
        files: file name → sha256 of the run's other files, once the run is done.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    row: str
    task: str
    task_title: str
    protocol: Protocol
    preset: Literal["quick", "paper"]
    data: DataRecord
    method: MethodRecord
    masks: MasksRecord | None = None
    training: TrainingRecord | None = None
    refine: int = 0
    seed: int
    machine: MachineRecord
    cost: CostRecord = CostRecord()
    status: Status
    reason: str | None = None
    started: str
    finished: str | None = None
    pairs_skipped: tuple[tuple[PairId, str], ...] = ()
    metrics: Mapping[str, "MetricRecord"] = Field(default_factory=dict)
    files: Mapping[str, str] = Field(default_factory=dict)


class MetricRecord(_Part):
    """How a metric's column is read."""

    title: str
    unit: str
    higher_is_better: bool
    digits: int
