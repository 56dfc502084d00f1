"""The training loop. It knows nothing of registration: a mask source trains its network by it as well."""

import time
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regbench.api.progress import Progress, Tick, during
from regbench.engine.meter import MemoryMeter, Pace, Stopwatch
from regbench.engine.seeds import derive, own_randomness
from regbench.engine.training.checkpoint import Best, State, copied, read_state, write_state, write_weights
from regbench.engine.training.course import Course
from regbench.engine.training.interrupt import interruption
from regbench.engine.training.terms import TermBuffer, checked_terms, gradient_norm, weighted_sum
from regbench.errors import CheckpointError, DivergedError, RunError
from regbench.results import History, RunFolder

Losses = Callable[[int], Mapping[str, Float[Tensor, ""]]]
Validate = Callable[[], float]

_TICK_SECONDS = 0.2
_CHECKPOINT_SHARE = 0.01


def fit(
    network: nn.Module,
    losses: Losses,
    course: Course,
    folder: RunFolder,
    progress: Progress,
    validate: Validate | None = None,
) -> State:
    """Train a network, from the folder's checkpoint if there is one; on a CPU the result does not depend on where.

    Args:
        network: on the course's device; trained in place. It ends in training mode.
        losses: number of the step (from 0) → loss terms by name, each with a weight in the course.
        course: how.
        folder: where state.pt, history.csv, weights.safetensors and best.safetensors are kept; held by the caller.
        progress: is told of a phase "train".
        validate: gives a score, the higher the better; or None.

    Returns:
        The state at the end.

    Raises:
        DivergedError: for a loss term or gradient that is not finite; the last good weights are written.
        RunError: for loss terms that nothing can be learnt by.
        KeyboardInterrupt: at the end of the step in which it came, after a checkpoint.
        CheckpointError: where no training can go on from the folder's checkpoint; it stays as it was.
        StorageError: where the folder cannot be written; what was there stays as it was.
    """
    training = _Training(network, losses, course, folder, progress, validate)
    in_seconds = course.budget_seconds is not None
    total = course.budget_seconds if in_seconds else float(course.steps or 0)
    unit = "second" if in_seconds else "step"
    with during("train", progress, total, unit), own_randomness(course.device):
        training.to_the_end()
    return training.state()


class _Training:
    def __init__(
        self,
        network: nn.Module,
        losses: Losses,
        course: Course,
        folder: RunFolder,
        progress: Progress,
        validate: Validate | None,
    ) -> None:
        self.network, self.losses, self.course = network, losses, course
        self.folder, self.progress, self.validate = folder, progress, validate
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(
            self.parameters, course.optimisation.learning_rate, amsgrad=course.optimisation.amsgrad, fused=True
        )
        self.history = History(folder.history, tuple(course.weights))
        self.buffer = TermBuffer()
        self.unread: dict[int, dict[str, float]] = {}
        self.steps_unread = _steps_unread(course.device)
        self.good: dict[str, Tensor] = {}
        self.good_step = 0
        self.step, self.finished = 0, False
        self.best: Best | None = None
        self.memory = MemoryMeter(course.device)
        self.pace = Pace(_TICK_SECONDS)
        self._resume()
        self._remember()

    def _resume(self) -> None:
        before = read_state(self.folder.state)
        if before is not None:
            try:
                self.network.load_state_dict(before.network)
                self.optimiser.load_state_dict(dict(before.optimiser))
            except (RuntimeError, ValueError) as error:
                raise CheckpointError(
                    f"The checkpoint {self.folder.state} does not fit the network any more; start again with --force."
                ) from error
            self.step, self.best, self.finished = before.step, before.best, before.finished
            self.history.resume(before.step)
        self.peak_mib = before.peak_memory_mib if before else 0.0
        self.wall_before = before.wall_seconds if before else 0.0
        self.begun = self.saved = time.perf_counter()
        self.saving_seconds = 0.0
        self.watch = Stopwatch(self.course.device, before.seconds if before else 0.0)

    @property
    def share_done(self) -> float:
        return self.course.share_done(self.step, self.watch.seconds)

    def state(self) -> State:
        """The state after the last whole step."""
        return State(
            step=self.step,
            seconds=self.watch.seconds,
            wall_seconds=self.wall_before + time.perf_counter() - self.begun,
            peak_memory_mib=max(self.peak_mib, self.memory.peak_mib),
            network=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            best=self.best,
            finished=self.finished,
        )

    def to_the_end(self) -> None:
        """Step until the course is done; then write what is left to be written."""
        if self.finished and self.share_done >= 1.0:
            return
        self.network.train()
        try:
            with interruption() as stop:
                while (done := self.share_done) < 1.0 and not stop.wanted:
                    self._step(self.course.learning_rate(done))
                    self._after_step(done)
                if self.share_done >= 1.0:
                    self._write_weights()
                    self.finished = True
                self._checkpoint()
        except DivergedError:
            self._keep_what_is_good()
            raise
        if stop.wanted:
            raise KeyboardInterrupt

    def _step(self, learning_rate: float) -> None:
        course = self.course
        torch.manual_seed(derive(course.seed, "step", self.step))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        bf16 = course.precision == "bfloat16"
        with torch.autocast(course.device.type, torch.bfloat16, enabled=bf16):
            terms = checked_terms(self.losses(self.step))
        total = weighted_sum(terms, course.weights)
        if not total.requires_grad:
            raise RunError("The loss terms do not depend on the network: they have no gradient.")
        torch.autograd.backward(total)
        self.buffer.add(self.step + 1, terms, total, gradient_norm(self.parameters))
        self.unread[self.step + 1] = {"seconds": self.watch.seconds, "learning_rate": learning_rate}
        if len(self.buffer) >= self.steps_unread:
            self._read()
            self._remember()
        self.optimiser.step()
        self.step += 1

    def _after_step(self, before: float) -> None:
        parts = self.course.validations
        if self.validate and int(self.share_done * parts) > int(before * parts):
            self._validate(self.validate)
        if self._checkpoint_is_due():
            self._checkpoint()

    def _remember(self) -> None:
        """Where steps are looked at later than they are taken, keep the weights of the last time that all was well."""
        if self.steps_unread > 1:
            self.good = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
            self.good_step = self.step

    def _keep_what_is_good(self) -> None:
        if self.good:
            self.network.load_state_dict(self.good)
            self.step = self.good_step
        self._write_weights()
        self.history.write()
        self.folder.state.unlink(missing_ok=True)  # going on from it would only diverge again

    def _read(self) -> None:
        """Look at the steps that were not looked at yet; raises DivergedError."""
        for taken in self.buffer.read():
            self.history.add({"step": taken.step, **self.unread.pop(taken.step), **taken.values})
            self._tick(taken.step, taken.values)

    def _tick(self, step: int, values: Mapping[str, float]) -> None:
        if not self.pace.due(step):
            return
        seconds, course = self.watch.seconds, self.course
        self.progress.advanced(
            Tick(
                done=float(step) if course.budget_seconds is None else seconds,
                terms=dict(values) | ({"validation": self.best.score} if self.best else {}),
                steps=step,
                per_second=self.pace.per_second,
                seconds_left=self._seconds_left(step, seconds),
                peak_memory_mib=self.memory.peak_mib,
            )
        )

    def _seconds_left(self, step: int, seconds: float) -> float | None:
        course, pace = self.course, self.pace.per_second
        if course.budget_seconds is not None:
            return max(0.0, course.budget_seconds - seconds)
        return (course.steps - step) / pace if course.steps and pace else None

    def _validate(self, validate: Validate) -> None:
        self._read()
        with self.watch.paused():
            score = validate()
            self.network.train()
            if self.best is None or score > self.best.score:
                self.best = Best(self.step, score, copied(self.network.state_dict()))
            self.history.amend({"validation": score})

    def _checkpoint_is_due(self) -> bool:
        wanted = self.course.checkpoint_seconds
        wait = max(wanted, self.saving_seconds / _CHECKPOINT_SHARE) if wanted else 0.0
        return time.perf_counter() - self.saved >= wait

    def _checkpoint(self) -> None:
        self._read()
        with self.watch.paused():
            begun = time.perf_counter()
            self.history.write()
            write_state(self.folder.state, self.state())
            self.saved = time.perf_counter()
            self.saving_seconds = self.saved - begun

    def _write_weights(self) -> None:
        write_weights(self.folder.weights, self.network.state_dict(), self.step)
        if self.best:
            write_weights(self.folder.best, self.best.weights, self.best.step)


def _steps_unread(device: torch.device) -> int:
    """After how many steps the loss terms are looked at, for which a GPU has to be waited for."""
    return 16 if device.type == "cuda" else 1
