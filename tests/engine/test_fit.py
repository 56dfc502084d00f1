"""The loop by itself, on a problem that has nothing to do with registration."""

import csv
import math
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from regbench.api import Optimisation, Silent, Tick
from regbench.engine import Course, State, fit
from regbench.errors import DivergedError, RunError, StorageError
from regbench.results import RunFolder

CPU = torch.device("cpu")
RATE = 0.01


@dataclass
class Told(Silent):
    """Remembers what it was told."""

    begun: list[tuple[str, float | None, str]] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    ended: int = 0

    def started(self, phase: Any, total: float | None, unit: str) -> None:
        self.begun.append((phase, total, unit))

    def advanced(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def done(self) -> None:
        self.ended += 1


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))


def losses(model: nn.Module, begun: Callable[[int], None] = lambda step: None) -> Callable[[int], Mapping[str, Tensor]]:
    def of(step: int) -> Mapping[str, Tensor]:
        begun(step)
        x = torch.rand(16, 3)
        return {"error": (model(x)[:, 0] - x.sum(1)).square().mean(), "size": model(x).square().mean()}

    return of


def course(**changes: Any) -> Course:
    values: dict[str, Any] = {
        "weights": {"error": 1.0, "size": 0.25, "unused": 3.0},
        "optimisation": Optimisation(learning_rate=RATE),
        "steps": 10,
        "device": CPU,
        "checkpoint_seconds": 0.0,
    }
    return Course(**(values | changes))


def history(folder: RunFolder) -> list[dict[str, str]]:
    with folder.history.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("amsgrad", [False, True])
def test_takes_the_steps_that_adam_by_the_book_takes(folder: RunFolder, amsgrad: bool) -> None:
    """Kingma and Ba, 2015, algorithm 1; AMSGrad (Reddi et al., 2018) with the maximum of the raw second moments."""
    rate, beta1, beta2, epsilon, steps = 0.1, 0.9, 0.999, 1e-8, 9
    x0 = [1.0, -2.0, 0.5]
    model = nn.ParameterList([nn.Parameter(torch.tensor(x0))])

    def quartic(step: int) -> Mapping[str, Tensor]:
        return {"error": (model[0] ** 4).sum() * (1 if step < 3 else 0.01)}

    fit(
        model,
        quartic,
        course(steps=steps, optimisation=Optimisation(learning_rate=rate, amsgrad=amsgrad)),
        folder,
        Silent(),
    )
    for n, start in enumerate(x0):
        x, m, v, most = start, 0.0, 0.0, 0.0
        for step in range(steps):
            g = 4 * x**3 * (1 if step < 3 else 0.01)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            most = max(most, v)
            second = (most if amsgrad else v) / (1 - beta2 ** (step + 1))
            x -= rate * (m / (1 - beta1 ** (step + 1))) / (math.sqrt(second) + epsilon)
        assert model[0].tolist()[n] == pytest.approx(x, rel=2e-6)


def test_the_history_says_what_happened(folder: RunFolder) -> None:
    model = network()
    state = fit(model, losses(model), course(), folder, Silent(), validate=lambda: 0.5)
    rows = history(folder)
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    assert state.step == 10
    for row in rows:
        assert float(row["total"]) == pytest.approx(float(row["error"]) + 0.25 * float(row["size"]), rel=1e-6)
        assert (row["unused"], row["learning_rate"], row["validation"]) == ("", "0.01", "0.5")
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[-1] <= state.seconds <= state.wall_seconds


def test_the_weights_are_those_of_the_end_and_of_the_best_validation(folder: RunFolder) -> None:
    model = network()
    scores = iter([1.0, 5.0, 2.0, 5.0])
    seen = []

    def validate() -> float:
        model.eval()
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(scores)

    state = fit(model, losses(model), course(steps=8, validations=4), folder, Silent(), validate)
    assert state.best is not None
    assert (state.best.step, state.best.score, len(seen)) == (4, 5.0, 4)
    for path, expected in ((folder.best, seen[1]), (folder.weights, model.state_dict())):
        kept = safetensors.torch.load_file(path)
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in kept)
    assert [row["validation"] for row in history(folder)] == ["", "1", "", "5", "", "2", "", "5"]


def test_the_network_trains_in_training_mode_also_after_a_validation(folder: RunFolder) -> None:
    model = network()
    modes = []

    def validate() -> float:
        model.eval()
        return 0.0

    fit(model, losses(model, lambda step: modes.append(model.training)), course(), folder, Silent(), validate)
    assert modes == [True] * 10


def test_the_polynomial_schedule(folder: RunFolder) -> None:
    model = network()
    schedule = Optimisation(learning_rate=RATE, schedule="polynomial")
    fit(model, losses(model), course(optimisation=schedule), folder, Silent())
    rates = [float(row["learning_rate"]) for row in history(folder)]
    assert rates == pytest.approx([RATE * (1 - step / 10) ** 0.9 for step in range(10)], rel=1e-6)


def test_torchs_generators_are_left_as_they_were(folder: RunFolder) -> None:
    model = network()
    before = torch.get_rng_state()
    fit(model, losses(model), course(steps=3), folder, Silent())
    assert torch.equal(torch.get_rng_state(), before)


def sum_of(model: nn.Module) -> float:
    return sum(parameter.detach().sum().item() for parameter in model.parameters())


def end(tmp_path: Path, name: str, **changes: Any) -> tuple[dict[str, Tensor], list[dict[str, str]]]:
    model = network()
    folder = RunFolder(tmp_path / name)
    fit(model, losses(model), course(**changes), folder, Silent(), lambda: sum_of(model))
    return model.state_dict(), history(folder)


def without_seconds(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_seed_decides(tmp_path: Path) -> None:
    first, second, other = end(tmp_path, "a"), end(tmp_path, "b"), end(tmp_path, "c", seed=1)
    assert equal(first[0], second[0])
    assert without_seconds(first[1]) == without_seconds(second[1])
    assert not equal(first[0], other[0])


class Killed(BaseException):
    """As far as the loop can see, the end of the process."""


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 60.0])
@pytest.mark.parametrize("schedule", ["constant", "polynomial"])
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(
    tmp_path: Path, checkpoint_seconds: float, schedule: str
) -> None:
    changes = {
        "checkpoint_seconds": checkpoint_seconds,
        "optimisation": Optimisation(learning_rate=RATE, schedule=schedule, amsgrad=True),  # type: ignore[arg-type]
    }
    expected = end(tmp_path, "whole", **changes)
    folder = RunFolder(tmp_path / "killed")
    for last in (0, 3, 4, 9):
        model = network()

        def kill(step: int, last: int = last) -> None:
            if step == last:
                raise Killed

        with pytest.raises(Killed):
            fit(model, losses(model, kill), course(**changes), folder, Silent(), lambda m=model: sum_of(m))
    got = end(tmp_path, "killed", **changes)
    assert equal(got[0], expected[0])
    assert without_seconds(got[1]) == without_seconds(expected[1])


def test_a_finished_training_is_not_trained_again(folder: RunFolder) -> None:
    model = network()
    fit(model, losses(model), course(), folder, Silent())
    again = network()

    def never(step: int) -> Mapping[str, Tensor]:
        raise AssertionError(step)

    state = fit(again, never, course(), folder, Silent())
    assert state.step == 10
    assert equal(again.state_dict(), model.state_dict())


def test_no_steps_at_all_keep_the_first_weights(folder: RunFolder) -> None:
    model = network()
    state = fit(model, losses(model), course(steps=0), folder, Silent())
    assert state.step == 0
    assert equal(safetensors.torch.load_file(folder.weights), network().state_dict())


@pytest.mark.parametrize(("number", "steps_done"), [(signal.SIGINT, 4), (signal.SIGTERM, 4), (signal.SIGHUP, 4)])
def test_a_signal_is_taken_at_the_end_of_its_step(
    tmp_path: Path, folder: RunFolder, number: signal.Signals, steps_done: int
) -> None:
    expected = end(tmp_path, "whole")
    model = network()
    before = signal.getsignal(number)

    def interrupt(step: int) -> None:
        if step == steps_done - 1:
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        fit(model, losses(model, interrupt), course(checkpoint_seconds=60.0), folder, Silent())
    assert signal.getsignal(number) is before
    assert len(history(folder)) == steps_done
    again = network()
    fit(again, losses(again), course(), folder, Silent())
    assert equal(again.state_dict(), expected[0])


def test_a_second_ctrl_c_stops_at_once(folder: RunFolder) -> None:
    model = network()

    def interrupt(step: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("went on")

    with pytest.raises(KeyboardInterrupt):
        fit(model, losses(model, interrupt), course(), folder, Silent())
    assert len(history(folder)) == 2


def test_somebody_elses_signal_handler_is_left_alone(folder: RunFolder) -> None:
    taken = []
    before = signal.signal(signal.SIGINT, lambda number, frame: taken.append(number))
    try:
        model = network()
        fit(model, losses(model, lambda step: signal.raise_signal(signal.SIGINT)), course(steps=2), folder, Silent())
    finally:
        signal.signal(signal.SIGINT, before)
    assert taken == [signal.SIGINT] * 2


def test_trains_outside_the_main_thread(folder: RunFolder) -> None:
    model = network()
    thread = threading.Thread(target=lambda: fit(model, losses(model), course(), folder, Silent()))
    thread.start()
    thread.join()
    assert len(history(folder)) == 10


def diverging(model: nn.Module, at: int, term: str, value: float) -> Callable[[int], Mapping[str, Tensor]]:
    def of(step: int) -> Mapping[str, Tensor]:
        terms = dict(losses(model)(step))
        if step + 1 == at:
            terms[term] = terms[term] * value
        return terms

    return of


@pytest.mark.parametrize(("term", "value"), [("error", math.nan), ("size", math.inf)])
@pytest.mark.parametrize("unread", [1, 4])
def test_divergence_names_step_and_term_and_keeps_good_weights(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, term: str, value: float, unread: int
) -> None:
    """With `unread` steps the losses are looked at late, as on a GPU."""
    good, _ = end(tmp_path, "good", steps=5 if unread == 1 else 3)
    model = network()
    monkeypatch.setattr("regbench.engine.training.loop._steps_unread", lambda device: unread)
    checkpoints = {"checkpoint_seconds": 60.0, "validations": 1}
    with pytest.raises(DivergedError, match=f"step 6.*'{term}' is {value}") as caught:
        fit(model, diverging(model, 6, term, value), course(**checkpoints), folder, Silent())
    assert (caught.value.step, caught.value.term) == (6, term)
    kept = safetensors.torch.load_file(folder.weights)
    assert equal(kept, model.state_dict())
    trained = {name: tensor for name, tensor in kept.items() if "running" not in name and "num_batches" not in name}
    assert all(torch.equal(tensor, good[name]) for name, tensor in trained.items())
    assert [int(row["step"]) for row in history(folder)] == [1, 2, 3, 4, 5]
    assert not folder.state.exists()


def test_a_gradient_that_is_not_finite_is_seen_before_it_does_harm(folder: RunFolder) -> None:
    model = network()

    def of(step: int) -> Mapping[str, Tensor]:
        terms = dict(losses(model)(step))
        return terms | ({"size": (terms["size"] * 0).sqrt()} if step == 2 else {})

    with pytest.raises(DivergedError, match=r"step 3.*'gradient'"):
        fit(model, of, course(), folder, Silent())
    assert all(torch.isfinite(tensor).all() for tensor in safetensors.torch.load_file(folder.weights).values())


def test_a_term_without_a_weight_is_named(folder: RunFolder) -> None:
    model = network()
    with pytest.raises(RunError, match=r"'size' has no weight.* knows error"):
        fit(model, losses(model), course(weights={"error": 1.0}), folder, Silent())


def test_what_are_no_terms_and_terms_without_a_gradient_are_named(folder: RunFolder) -> None:
    model = network()
    for terms, said in (
        ({}, "gave no loss term"),
        (torch.ones(()), "gave a Tensor; expected a mapping"),
        ({"error": 0.5}, "'error' is no scalar tensor: it is a float"),
        ({"error": torch.ones(2)}, r"'error' is no scalar tensor: its shape is \(2,\)"),
    ):
        with pytest.raises(RunError, match=said):
            fit(model, lambda step, terms=terms: terms, course(), folder, Silent())
    for stranger in (torch.ones((), requires_grad=True), torch.ones(())):
        with pytest.raises(RunError, match="do not depend on the network"):
            fit(model, lambda step, term=stranger: {"error": term * 2}, course(), folder, Silent())


def test_a_budget_is_kept_over_all_sittings(folder: RunFolder, clock: Any) -> None:
    told = Told()

    def train(last: int) -> State:
        model = network()

        def begun(step: int) -> None:
            clock.sleep(0.125)
            if step == last:
                raise Killed

        def validate() -> float:
            clock.sleep(10.0)
            return 1.0

        changed = course(steps=None, budget_seconds=2.0, validations=4)
        return fit(model, losses(model, begun), changed, folder, told, validate)

    for last in (3, 6):
        with pytest.raises(Killed):
            train(last)
    state = train(99)
    assert (state.step, state.seconds) == (16, 2.0)
    assert state.wall_seconds == 2.0 + 4 * 10.0
    rows = history(folder)
    assert [row["step"] for row in rows if row["validation"]] == ["4", "8", "12", "16"]
    assert [float(row["seconds"]) for row in rows] == [0.125 * step for step in range(1, 17)]
    assert told.begun == [("train", 2.0, "second")] * 3
    assert [tick.done for tick in told.ticks[:2]] == [0.125, 0.375]
    assert told.ticks[0].seconds_left == 1.875


def test_a_budgets_schedule_follows_the_clock(folder: RunFolder, clock: Any) -> None:
    model = network()
    schedule = Optimisation(learning_rate=RATE, schedule="polynomial")
    changed = course(steps=None, budget_seconds=1.0, optimisation=schedule)
    fit(model, losses(model, lambda step: clock.sleep(0.25)), changed, folder, Silent())
    rates = [float(row["learning_rate"]) for row in history(folder)]
    assert rates == pytest.approx([RATE * (1 - step / 4) ** 0.9 for step in range(4)], rel=1e-6)


def test_progress_is_told(folder: RunFolder, clock: Any) -> None:
    model = network()
    told = Told()
    fit(model, losses(model, lambda step: clock.sleep(0.125)), course(steps=12), folder, told, lambda: 3.0)
    assert told.begun == [("train", 12.0, "step")]
    assert told.ended == 1
    assert [tick.done for tick in told.ticks] == [1, 3, 5, 7, 9, 11]
    last = told.ticks[-1]
    assert (last.steps, last.per_second, last.seconds_left) == (11, 8.0, 0.125)
    assert last.terms.keys() == {"error", "size", "total", "gradient", "validation"}
    assert last.peak_memory_mib is not None
    assert last.peak_memory_mib > 50


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", b"\x80\x02cos\nsystem\n."])
def test_a_damaged_checkpoint_is_named(folder: RunFolder, damage: bytes) -> None:
    folder.path.mkdir(parents=True)
    folder.state.write_bytes(damage)
    with pytest.raises(StorageError, match=r"state\.pt cannot be read"):
        fit(network(), losses(network()), course(), folder, Silent())


def test_a_byte_that_changed_in_a_checkpoint_is_seen(folder: RunFolder) -> None:
    model = network()
    fit(model, losses(model), course(steps=2), folder, Silent())
    content = folder.state.read_bytes()
    place = content.index(next(model.parameters()).detach().numpy().tobytes())
    folder.state.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
    with pytest.raises(StorageError, match=r"state\.pt cannot be read"):
        fit(network(), losses(model), course(), folder, Silent())


def test_a_checkpoint_of_another_network_is_named(folder: RunFolder) -> None:
    model = network()
    fit(model, losses(model), course(steps=2), folder, Silent())
    with pytest.raises(StorageError, match="does not fit the network"):
        fit(nn.Linear(3, 1), losses(model), course(), folder, Silent())


def test_checkpoints_cost_little(folder: RunFolder, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def slow_write(path: Path, state: State) -> None:
        written.append(state.step)
        clock.sleep(0.125)

    monkeypatch.setattr("regbench.engine.training.loop.write_state", slow_write)
    model = network()
    often = course(steps=60, checkpoint_seconds=2.0)
    fit(model, losses(model, lambda step: clock.sleep(0.5)), often, folder, Silent())
    assert written == [4, 29, 54, 60]


def test_bfloat16_reaches_the_losses(folder: RunFolder) -> None:
    model = network()
    kinds = []

    def of(step: int) -> Mapping[str, Tensor]:
        out = model[0](torch.rand(4, 3))  # type: ignore[index, operator]
        kinds.append(out.dtype)
        return {"error": out.square().mean()}

    fit(model, of, course(steps=1, precision="bfloat16"), folder, Silent())
    fit(model, of, course(steps=2), folder, Silent())
    assert kinds == [torch.bfloat16, torch.float32]
    assert model[0].weight.dtype == torch.float32  # type: ignore[index, union-attr]
