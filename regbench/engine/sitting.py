"""One process's work on a run that it holds."""

import errno
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from regbench.api import Method, Trainable
from regbench.api.progress import Phase, Progress, during
from regbench.data import Cohort, load_cohort
from regbench.data.cohorts.fingerprints import masks_fingerprint
from regbench.data.files.atomic import write_bytes, write_text
from regbench.engine.evaluation.evaluate import Evaluation, Register, evaluate, skipped_pairs
from regbench.engine.evaluation.masks_alone import masks_alone
from regbench.engine.evaluation.refinement import refining
from regbench.engine.masks import add_masks, numbers_of_masks, other_masks
from regbench.engine.plan import Plan
from regbench.engine.proof.reopening import trained
from regbench.engine.records.outside import keep_places
from regbench.engine.records.record import metric_records, new_record, now
from regbench.engine.training.checkpoint import State
from regbench.engine.training.train import new_network, train
from regbench.errors import RegbenchError, RequestError, RunError, StorageError, lacks_memory
from regbench.results import RunFolder, RunRecord, write_cases

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Sitting:
    """Brings a run to its end, or adds to one that is done. The caller holds the folder."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        data: str,
        before: RunRecord | None,
        progress: Progress,
        trained_before: tuple[RunFolder, RunRecord] | None = None,
    ) -> None:
        """Nothing is done yet.

        Args:
            plan: what is run.
            folder: the run's.
            data: the data's fingerprint.
            before: the record as it stands, or None.
            progress: who is told.
            trained_before: a finished run with the very network that this one would train, or None.
        """
        self.plan, self.folder, self.progress = plan, folder, progress
        self.trained_before = trained_before
        self.method: Method = plan.method.instance
        self.record = new_record(plan, folder.path.name, data)
        self.phase: Phase = "prepare"
        self.saw = before.masks if before else None
        if before is not None and before.status in ("running", "interrupted"):
            self.record = self.record.model_copy(update={"started": before.started, "cost": before.cost})

    def to_the_end(self) -> RunRecord:
        """Train and evaluate.

        Raises:
            RequestError: if the data, the storage or a setting cannot be used.
            KeyboardInterrupt: after the record says "interrupted".
        """
        with self._timed("prepare"):
            cohort = self._cohort()
        with self._recorded():
            reason = self._lacks_masks()
            if reason is None:
                with self._timed("masks"):
                    cohort = self._masked(cohort)
                    self._forget_training_on_others(cohort)
                    self._note_masks(cohort)
                reason = self._out_of_scope(cohort)
            if reason is not None:
                self._save(status="skipped", reason=reason, finished=now())
                return self.record
            with self._timed("train"):
                register = self._trained(cohort)
            with self._timed("evaluate"):
                evaluation = self._evaluated(register, cohort)
            self._finish(evaluation)
        return self.record

    def once_more(self, before: RunRecord) -> RunRecord:
        """Evaluate a finished run again, with its weights; where that fails, its record stays as it was.

        Args:
            before: the record of the finished run.
        """
        self.record = before
        cohort = self._cohort()
        cohort = numbers_of_masks(cohort) if self.plan.mask_use == "training" else self._masked(cohort)
        register = trained(self.method, cohort, self.folder, before)
        try:
            self._refuse_other_masks(cohort)
            evaluation = self._evaluated(register, cohort)
        except RequestError:
            raise
        except Exception as error:
            self.progress.note(f"{self.record.row} could not be scored again: {_one_line(error)}")
            return before
        self._note_masks(cohort)
        self._finish(evaluation)
        return self.record

    def _cohort(self) -> Cohort:
        plan = self.plan
        with during("prepare", self.progress):
            return load_cohort(plan.task, plan.folder, plan.protocol, device=plan.device, cache=plan.cache)

    def _lacks_masks(self) -> str | None:
        if self.method.masks == "always" and self.plan.masks is None:
            return f"{self.plan.method.plugin.name} looks at masks, and none were given; name a source with --masks."
        return None

    def _out_of_scope(self, cohort: Cohort) -> str | None:
        skipped = skipped_pairs(self.method, cohort)
        if skipped and len(skipped) == len(cohort.protocol.test_pairs):
            return f"Every test pair is out of scope: {skipped[0][1]}"
        return None

    def _masked(self, cohort: Cohort) -> Cohort:
        masks = self.plan.masks
        if masks is None or self.plan.mask_use is None:
            return cohort
        return add_masks(cohort, masks, self.progress, modality=self.plan.task.modality, cache=self.plan.cache)

    def _trained(self, cohort: Cohort) -> Register:
        method = self.method
        if not isinstance(method, Trainable):
            return method.register
        if self.trained_before is not None and not other_masks(self.trained_before[1].masks, cohort):
            return self._taken_over(*self.trained_before, cohort)
        network = new_network(method, cohort.setting, cohort.device, self.plan.seed)
        self._cost(parameters=sum(parameter.numel() for parameter in network.parameters()))
        state = train(self.plan, method, network, cohort, self.folder, self.progress)
        self._note_training(state)
        return partial(method.predict, network)

    def _taken_over(self, source: RunFolder, record: RunRecord, cohort: Cohort) -> Register:
        """The network of another run, with what its training cost."""
        register = trained(self.method, cohort, source, record)
        for file in (source.weights, source.best, source.history):
            if file.is_file():
                write_bytes(self.folder.path / file.name, file.read_bytes())
        self.progress.note(f"The network of run {record.run_id[:8]} is taken over: it differs by the refinement only.")
        self._cost(parameters=record.cost.parameters, peak_memory_mib=record.cost.peak_memory_mib)
        seconds = record.cost.wall_seconds.get("train", 0.0) - self.record.cost.wall_seconds.get("train", 0.0)
        self._add_seconds("train", seconds)
        self._save(training=record.training)
        return register

    def _evaluated(self, register: Register, cohort: Cohort) -> Evaluation:
        plan = self.plan
        register = refining(register, plan.refine)
        fields = self.folder.fields if plan.save_fields else None
        return evaluate(self.method, register, cohort, plan.metrics, self.progress, seed=plan.seed, fields=fields)

    def _refuse_other_masks(self, cohort: Cohort) -> None:
        if others := other_masks(self.saw, cohort):
            raise RunError(others)

    def _forget_training_on_others(self, cohort: Cohort) -> None:
        """A training that began with other masks would end in a network of neither."""
        others = other_masks(self.saw, cohort)
        if others and self.folder.state.is_file():
            self.folder.state.unlink()
            self.progress.note(f"{others} It is trained anew.")

    def _note_masks(self, cohort: Cohort) -> None:
        """Which masks they are, and how good by themselves: a method that sees them at test is read beside it."""
        masks = self.record.masks
        if masks is None or cohort.masks is None:
            return
        noted: dict[str, Any] = {"digest": masks_fingerprint(cohort)}
        if masks.used == "training and test" and cohort.labels is not None:
            noted["alone"] = {scan: {label: 100 * value for label, value in by_label.items()}
                              for scan, by_label in masks_alone(cohort).items()}  # fmt: skip
        self._save(masks=masks.model_copy(update=noted))

    def _finish(self, evaluation: Evaluation) -> None:
        if self.record.training is not None and not self.folder.weights.is_file():
            raise StorageError(f"{self.folder.weights} is gone: its folder was moved or removed while it was at work; "
                               "run it again.")  # fmt: skip
        write_cases(self.folder.cases, evaluation.rows)
        self.folder.failure.unlink(missing_ok=True)
        self._cost(seconds_per_pair=evaluation.seconds_per_pair)
        if self.record.training is None:
            self._cost(peak_memory_mib=evaluation.peak_memory_mib)
        self._save(
            status="done",
            reason=None,
            finished=now(),
            pairs_skipped=evaluation.skipped,
            metrics=metric_records(self.plan),
            files=self.folder.digests(),
        )
        self.folder.state.unlink(missing_ok=True)

    def _note_training(self, state: State) -> None:
        best = state.best
        self._cost(peak_memory_mib=state.peak_memory_mib)
        self._add_seconds("train", state.wall_seconds - self.record.cost.wall_seconds.get("train", 0.0))
        if self.record.training is not None:
            done = {
                "steps": state.step,
                "steps_done": state.step,
                "best_step": best and best.step,
                "best_validation": best and best.score,
            }
            self._save(training=self.record.training.model_copy(update=done))

    @contextmanager
    def _timed(self, phase: Phase) -> Iterator[None]:
        self.phase, begun = phase, time.perf_counter()
        try:
            yield
        finally:
            if phase != "train":  # the checkpoint knows it over all sittings
                self._add_seconds(phase, time.perf_counter() - begun)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """The record says that the run is under way; and how it ended, where it did not end well."""
        keep_places(self.plan, self.folder)
        self._save(status="running")
        try:
            yield
        except KeyboardInterrupt:
            self._save(status="interrupted")
            raise
        except StorageError:
            raise
        except RequestError as error:
            self._fail(error)
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise StorageError(f"There is no space left: {error}; make room and run it again.") from error
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        write_text(self.folder.failure, "".join(traceback.format_exception(error)))
        reason = _one_line(error)
        if not isinstance(error, RegbenchError):
            where = ", ".join([f"In the phase '{self.phase}'", *getattr(error, "__notes__", [])])
            reason = f"{where}: {reason} (see {self.folder.failure.name} beside its record)"
        self._save(status="failed", reason=reason, finished=now())

    def _cost(self, **values: Any) -> None:
        self.record = self.record.model_copy(update={"cost": self.record.cost.model_copy(update=values)})

    def _add_seconds(self, phase: Phase, seconds: float) -> None:
        before = self.record.cost.wall_seconds
        self._cost(wall_seconds={**before, phase: before.get(phase, 0.0) + seconds})

    def _save(self, **values: Any) -> None:
        self.record = self.record.model_copy(update=values)
        self.folder.save(self.record)


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, RegbenchError):
        return said
    if lacks_memory(error):
        said = f"the memory is not enough; try a smaller grid, bfloat16 or another device. {said}".strip()
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
