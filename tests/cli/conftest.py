"""A command line to call, and plugins in files for it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from regbench.cli import app

TOYBOX = Path(__file__).parents[1] / "plugins" / "toybox" / "src" / "toybox"
FILES = [TOYBOX / "balls.py", TOYBOX / "centroid.py"]

LEARNER = '''
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import Tensor, nn
from regbench.api import Batch, Card, Preset, Recipe, Setting, Trainable
from regbench.losses import gradient_penalty, lncc
from regbench.spatial import warp

class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Conv3d(2, width, 3, padding=1)
        self.flow = nn.Conv3d(width, 3, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=1e-5)
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return self.flow(torch.relu(self.features(torch.cat([moving, fixed], 1))))

@dataclass(frozen=True)
class Learner(Trainable):
    """Learns.

    Attributes:
        width: channels.
    """
    card: ClassVar[Card] = Card(title="Learner", summary="Learns.", citation="@misc{learner, title = {Learner}}")
    masks = "training"
    width: int = 2
    def network(self, setting: Setting) -> nn.Module:
        return Net(self.width)
    def training(self, preset: Preset) -> Recipe:
        return Recipe.common(preset, {"similarity": 1.0, "smooth": 1.0, "segmentation": 1.0})
    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        u = self.displacement(network, batch)
        return {"similarity": lncc(batch.fixed, warp(batch.moving, u)), "smooth": gradient_penalty(u)}
'''

FAILING = """
from dataclasses import dataclass
from typing import ClassVar
from regbench.api import Card, Field, Method, Pair

@dataclass(frozen=True)
class Failing(Method):
    card: ClassVar[Card] = Card(title="Failing", summary="Fails.")
    def register(self, pair: Pair) -> Field:
        raise ArithmeticError("it cannot count")
"""

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call regbench in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return invoke


@pytest.fixture
def plugin_words(tmp_path: Path) -> Sequence[str]:
    """--plugin for the toy task and its methods: centroid, learner, failing."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    written = []
    for name, text in (("learner.py", LEARNER), ("failing.py", FAILING)):
        (folder / name).write_text(text)
        written.append(folder / name)
    return [word for file in [*FILES, *written] for word in ("--plugin", str(file))]


@pytest.fixture
def run(call: Call, plugin_words: Sequence[str]) -> Call:
    """Call regbench run on the toy task, one run after the other unless the words say otherwise."""

    def invoke(*words: str | Path) -> Result:
        jobs = () if "--jobs" in words else ("--jobs", "1")
        return call("run", "--task", "balls", *plugin_words, *jobs, *words)

    return invoke


@pytest.fixture
def balls_folder(tmp_path: Path, call: Call) -> Path:
    """The toy task's scans in a folder."""
    out = tmp_path / "scans"
    result = call("data", "phantom", "balls", "--out", out, "--cases", "6", "--plugin", FILES[0])
    assert result.exit_code == 0, result.output
    return out
