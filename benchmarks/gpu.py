"""What a GPU does with regbench, in one command of at most ten minutes: `python -m benchmarks.gpu -o DIR`.

For each trainable method, in float32 and under bfloat16 autocast: is a step on the GPU the same as on the CPU, how many
steps a second at 160³, how much memory, and how many and how much of the plain formulation of the baselines; then a
short run of the tool itself on the phantom. The results are printed and written as gpu.md and gpu.json. Nothing is
compiled by torch.compile: no recipe of regbench asks for it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.plain.training import METHODS, Plain
from benchmarks.training import Training, sent
from regbench.api import Batch, Setting, Trainable
from regbench.registry import Registry
from regbench.testing import scenes
from regbench_methods.ours import Ours
from regbench_methods.ours_released import OursReleased

GIB = 2**30
LABELS = tuple(range(1, 14))
SMALL = (32, 24, 40)
PRECISIONS = ("float32", "bfloat16")
SECONDS, WARMUP = 10.0, 3
"""Of measured steps a row, after so many that warm up."""
TOLERANCES = {"terms": 1e-3, "gradient": 5e-2}
"""Relative; float32 with TF32 switched off, as sums are taken in another order."""
_ROW = "| {method} | {precision} | {steps_per_second:.2f} | {peak_gib:.1f} | {worst:.1e} | {note} |"
_HEAD = "| method | precision | steps/s | peak GiB | furthest from the CPU | |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """A method at one precision.

    Attributes:
        method: its name.
        precision: of its training.
        steps_per_second: the reciprocal of the median step; not a number where it failed.
        peak_gib: of a step, without what was held before the network.
        worst: the greatest relative difference of a loss term of a small step from the CPU's (float32).
        note: what went wrong, or nothing.
    """

    method: str
    precision: str
    steps_per_second: float
    peak_gib: float
    worst: float
    note: str = ""

    def line(self) -> str:
        """The row of the table."""
        return _ROW.format(**asdict(self))


def furthest_from_cpu(method: Trainable, device: torch.device) -> float:
    """The greatest relative difference of a loss term, or the gradient's norm, of a small step from that on the CPU.

    Nothing is drawn in it, which no two devices do alike: no branch is left out, and every contour point counts.

    Raises:
        AssertionError: where it is more than rounding.
    """
    pair = scenes.unlike(SMALL, masks=True)
    if isinstance(method, Ours):
        method = replace(method, contour_points=3 * prod(SMALL))
    torch.manual_seed(0)
    here = method.network(pair.setting).eval()
    away = deepcopy(here).to(device)
    expected, expected_norm = Training(method, here, pair.batch(), "float32").step()
    terms, norm = Training(method, away, sent(pair, device).batch(), "float32").step()
    apart = max(_apart(terms[name], value) for name, value in expected.items())
    assert apart <= TOLERANCES["terms"], f"a loss term differs from the CPU's by {apart:.1e}"
    gradients = _apart(norm, expected_norm)
    assert gradients <= TOLERANCES["gradient"], f"the gradient differs from the CPU's by {gradients:.1e}"
    return max(apart, gradients)


def _apart(value: Tensor, expected: Tensor) -> float:
    return abs(float(value) - float(expected)) / max(abs(float(expected)), 1e-3)


def large_batch(size: int, device: torch.device) -> Batch:
    """A pair of noise with masks of 13 slabs."""
    setting = Setting((size, size, size), (2.0, 2.0, 2.0), LABELS)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 1, size, size, size, generator=generator).to(device) for _ in range(2)]
    slabs = (torch.arange(size) * (len(LABELS) + 1) // size).to(torch.uint8).to(device)
    masks = [slabs.view(shape).expand(1, 1, size, size, size).contiguous() for shape in ((1, 1, 1, 1, -1),) * 2]
    return Batch(images[0], images[1], masks[0], masks[1], setting)


def speed(training: Training, seconds: float, wait: Callable[[], None]) -> float:
    """Steps a second, by the median."""
    for _ in range(WARMUP):
        training.step()
    taken: list[float] = []
    begun = time.perf_counter()
    while not taken or time.perf_counter() - begun < seconds:
        wait()
        start = time.perf_counter()
        training.step()
        wait()
        taken.append(time.perf_counter() - start)
    return 1 / statistics.median(taken)


def measured(name: str, method: Trainable, size: int, device: torch.device, seconds: float) -> Iterator[Row]:
    """A row for each precision; one that fails says why."""
    on_gpu = device.type == "cuda"
    wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else lambda: None
    for precision in PRECISIONS[:1] if isinstance(method, Plain) else PRECISIONS:  # plain LNCC needs float32
        worst = rate = peak = float("nan")
        note = ""
        try:
            worst = furthest_from_cpu(method, device)
            batch = large_batch(size, device)
            if on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            network = method.network(batch.setting).to(device)
            rate = speed(Training(method, network, batch, precision), seconds, wait)
            peak = torch.cuda.max_memory_allocated() / GIB if on_gpu else peak
        except (RuntimeError, AssertionError) as error:  # out of memory is a RuntimeError
            note = f"failed: {' '.join(str(error).split())[:160]}"
        yield Row(name, precision, rate, peak, worst, note)


def short_run(device: str) -> str:
    """One training of a few steps by the tool itself, on the phantom; what came of it in a sentence."""
    command = ["run", "--task", "abdomen", "--method", "ours", "--masks", "truth", "--steps", "20", "--device", device]
    with TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", "from regbench.cli import app; app()", *command, "--runs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
    said = "to its end" if done.returncode == 0 else f"failed: {' '.join(done.stderr.split())[-300:]}"
    return f"`regbench {' '.join(command)}`: {said}"


def trainable(names: Sequence[str]) -> Iterator[tuple[str, Trainable]]:
    """The methods of these names that are trained, or all; also with checkpointing, baselines as they are written."""
    registry = Registry()
    for name in names or registry.names("method"):
        kind = registry.load("method", name)
        if issubclass(kind, Trainable):
            made: Any = kind()
            if isinstance(made, OursReleased):
                made = replace(made, contour=0.0)  # distance transforms by the host: many seconds a step at 160³
            yield name, made
            yield f"{name}, checkpointing", replace(made, checkpointing=True)
        if name in METHODS:
            yield f"{name}, plain", Plain(METHODS[name])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure regbench on a GPU.")
    parser.add_argument("methods", nargs="*", help="all that can be trained, if none is named")
    parser.add_argument("-o", "--out", type=Path, default=Path(), help="folder for gpu.md and gpu.json")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script itself")
    parser.add_argument("--size", type=int, default=160, help="voxels along each axis")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measured steps a row")
    chosen = parser.parse_args()
    if chosen.device != "cpu" and not torch.cuda.is_available():
        sys.exit(f"This measures a GPU, and torch {torch.__version__} finds none; run it on a machine that has one.")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(chosen.device)
    rows: list[Row] = []
    print(_HEAD)  # noqa: T201
    for name, method in trainable(chosen.methods):
        for row in measured(name, method, chosen.size, device, chosen.seconds):
            rows.append(row)
            print(row.line(), flush=True)  # noqa: T201
    run = short_run(chosen.device)
    print(f"\n{run}")  # noqa: T201
    write(chosen.out, rows, run, torch.cuda.get_device_name() if device.type == "cuda" else "the CPU")


def write(folder: Path, rows: Sequence[Row], run: str, device: str) -> None:
    """gpu.md and gpu.json."""
    folder.mkdir(parents=True, exist_ok=True)
    table = "\n".join([_HEAD, *(row.line() for row in rows)])
    (folder / "gpu.md").write_text(f"Measured on {device}, torch {torch.__version__}.\n\n{table}\n\n{run}\n")
    content = {"device": device, "torch": torch.__version__, "rows": [asdict(row) for row in rows], "run": run}
    (folder / "gpu.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
