"""`list`, `show`, `cite`, `doctor`: what there is."""

import json
import re
from pathlib import Path

import pytest

from regbench.cli.plans import names_of
from regbench.errors import BadValueError
from regbench.registry import GROUPS, Registry, configure, fields, plugins
from regbench.results import Store

BROKEN = "raise RuntimeError('the toy is broken')\n"


def test_names_of_every_kind(call) -> None:
    text = call("list").stdout
    for line in ("tasks", "methods", "metrics", "masks"):
        assert line in text
    names = json.loads(call("list", "--json").stdout)
    assert {"abdomen", "acdc"} <= set(names["tasks"])
    assert "identity" in names["methods"]


def test_a_kind_with_titles_and_owners(call, plugin_words) -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("list", "methods", "--json", *plugin_words).stdout)}
    assert entries["centroid"]["title"] == "Centroid"
    assert entries["centroid"]["from"].startswith("centroid.py ")
    assert entries["identity"]["from"].startswith("regbench ")
    text = " ".join(call("list", "methods", *plugin_words).stdout.split())
    assert "centroid" in text
    assert "identity" in text


def test_a_plugin_file_that_does_not_import_is_said(call, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    result = call("list", "methods", "--plugin", tmp_path / "broken.py")
    assert result.exit_code == 2
    assert "the toy is broken" in result.stderr


def test_a_method_whose_register_is_misspelt_is_told_what_it_lacks(call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from regbench.api import Method\n\n\nclass Mine(Method):\n    def registre(self, pair):\n        ...\n"
    )
    result = call("check", "method", "mine", "--plugin", tmp_path / "mine.py")
    assert result.exit_code == 2
    assert "holds no plugin: Mine does not define register" in " ".join(result.stderr.split())


def test_a_plugin_file_that_ends_the_program_is_said(call, tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text("raise SystemExit(3)\n")
    result = call("list", "methods", "--plugin", tmp_path / "ending.py")
    assert result.exit_code == 2
    assert "ending.py does not import: SystemExit: 3" in result.stderr


UNFINISHED = """
from dataclasses import dataclass
from regbench.api import Card, Method, Metric
class Loose(Method):
    card = Card(title="Loose", summary="No dataclass.")
    def register(self, pair):
        raise NotImplementedError
@dataclass(frozen=True)
class Bare(Loose):
    weights: str
@dataclass(frozen=True)
class Nameless(Method):
    def register(self, pair):
        raise NotImplementedError
@dataclass(frozen=True)
class Unitless(Metric):
    card = Card(title="Unitless", summary="No unit.")
    def measure(self, case):
        return {}
"""


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("method", "loose", "is no dataclass, whose fields are its configuration; write @dataclass(frozen=True) above"),
        ("method", "bare", "has fields without a default: weights."),
        ("method", "nameless", "does not define: card."),
        ("metric", "unitless", "does not define: unit, higher_is_better."),
    ],
)
def test_what_a_plugin_lacks_is_said_and_stops_no_other(call, tmp_path: Path, kind: str, name: str, said: str) -> None:
    (tmp_path / "unfinished.py").write_text(UNFINISHED)
    words = ("--plugin", tmp_path / "unfinished.py")
    for command in ("show", "check"):
        result = call(command, kind, name, *words)
        assert result.exit_code == 2
        assert f"The {kind} '{name}' of unfinished.py {said}" in result.stderr
    listed = {entry["name"]: entry for entry in json.loads(call("list", f"{kind}s", "--json", *words).stdout)}
    assert said in listed[name]["broken"]
    assert "title" in listed["identity" if kind == "method" else "dsc"]


AMISS = """
from dataclasses import dataclass, field
from typing import Any, ClassVar
import torch
from regbench.api import Card, Method
@dataclass(frozen=True)
class {name}(Method):
    {card} = {title}
    {field}
    def register(self, pair):
        raise NotImplementedError
"""
CARD = {"card": "card: ClassVar[Card]", "title": "Card(title='Amiss', summary='One thing is wrong with it.')"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"title": "'Amiss'"}, "has a str for its card; expected a regbench.api.Card."),
        ({"card": "card: Card"}, "makes fields of what is the class's own: card; annotate them as ClassVar."),
        ({"field": "depth: int = 'three'"}, "Amiss.depth cannot be 'three'; expected integer."),
        ({"field": "depth: int = None"}, "Amiss.depth cannot be None; expected integer."),
        ({"field": "depth: 'Depht' = 3"}, "A field of Amiss has a type that cannot be read: name 'Depht' is not"),
        ({"field": "mean: Any = field(default_factory=lambda: torch.zeros(3))"}, "cannot be written to a record"),
        ({"field": "def __post_init__(self): raise TypeError('boom')"}, "Amiss cannot be set up: TypeError: boom"),
    ],
)
def test_what_is_amiss_with_a_plugins_class_is_said_and_stops_no_other(call, tmp_path: Path, wrong, said: str) -> None:
    file = tmp_path / "amiss.py"
    file.write_text(AMISS.format_map({"name": "Amiss", "field": "", **CARD, **wrong}))
    shown, checked = (call(verb, "method", "amiss", "--plugin", file) for verb in ("show", "check"))
    assert said in shown.stderr
    assert shown.exit_code == 2
    assert checked.exit_code in (1, 2)
    assert said in checked.output
    names, unusable = names_of(Registry([file]), "method", ["all"])
    assert "identity" in names
    assert [sentence for sentence in unusable if said in sentence]


WITHOUT_A_RECIPE = """
from dataclasses import dataclass
from typing import ClassVar
from regbench.api import Card, Trainable
@dataclass(frozen=True)
class Aimless(Trainable):
    card: ClassVar[Card] = Card(title="Aimless", summary="Nothing says how it is trained.")
    def network(self, setting): ...
    def losses(self, network, batch): ...
    def training(self, preset): {body}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("...", "gave a NoneType for the preset quick; expected a regbench.api.Recipe."),
        ("raise KeyError('epochs')", "raised KeyError for the preset quick: 'epochs'"),
    ],
)
def test_a_method_that_gives_no_recipe_is_said_and_stops_no_other(
    call, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    file = tmp_path / "aimless.py"
    file.write_text(WITHOUT_A_RECIPE.format(body=body))
    for words in (("run", "--task", "abdomen", "--method", "aimless"), ("show", "method", "aimless")):
        result = call(*words, "--plugin", file)
        assert result.exit_code == 2
        assert f"`training` of Aimless {said}" in result.stderr
    there = plugins.entry_points
    few = {"regbench.methods": "identity", "regbench.metrics": "dsc"}
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [one for one in there(group=group) if one.name == few.get(group)]
    )
    result = run("--method", "all", "--masks", "none", "--steps", "1", "--plugin", file)
    assert result.exit_code == 1
    assert f"`training` of Aimless {said}" in result.stderr
    assert {record.row for _, record in Store(Path("runs")).list()} == {"identity", "centroid", "learner", "failing"}


def test_a_method_in_full(call, plugin_words) -> None:
    facts = json.loads(call("show", "method", "learner", "--json", *plugin_words).stdout)
    assert facts["fields"] == [{"name": "width", "type": "integer", "default": 2, "meaning": "channels."}]
    assert facts["recipes"]["quick"]["weights"]["smooth"] == 1.0
    text = call("show", "method", "learner", *plugin_words).stdout
    for part in ("Learner", "width", "channels.", "Recipe of the preset paper", "@misc{learner"):
        assert part in text


def test_fields_say_what_they_take_in_words(call) -> None:
    text = call("show", "masks", "sat").stdout
    assert "--set masks.NAME=VALUE" in text
    assert "batch_size = 1  (integer, at least 1)\n      image patches a step." in text
    assert "checkpoint = none  (file or folder, or none)" in text
    registry = Registry()
    for kind in ("method", "task", "metric", "masks"):
        for name in registry.names(kind):
            for field in fields(registry.load(kind, name)):
                assert not re.search(r"[\[\]|<>=]|typing|Annotated|Path", field.type), (name, field)
    with pytest.raises(BadValueError, match="batch_size cannot be '0'; expected integer, at least 1"):
        configure(registry.load("masks", "sat"), {"batch_size": "0"})


def test_a_task_in_full(call) -> None:
    facts = json.loads(call("show", "task", "abdomen", "--json").stdout)
    protocols = {protocol["name"]: protocol for protocol in facts["protocols"]}
    assert protocols["ipmi25"]["test_pairs"] == 45
    text = call("show", "task", "abdomen").stdout
    assert "Protocol ipmi25" in text
    assert "45 test pairs" in text
    assert call("show", "task", "acdc").stdout.count("- Intensities: clipped to") == 1, "what all note stands once"


@pytest.mark.parametrize(
    ("kind", "name", "part"), [("metric", "hd95", "unit: mm"), ("masks", "truth", "saw test labels")]
)
def test_a_metric_and_a_mask_source_in_full(call, kind: str, name: str, part: str) -> None:
    result = call("show", kind, name)
    assert result.exit_code == 0, result.output
    assert part in result.stdout


@pytest.mark.parametrize("command", ["show", "check", "new"])
def test_every_kind_is_named_where_one_is_asked_for(call, command: str) -> None:
    for words in ((), ("--help",), ("method", "--help"), ("methods", "identity")):
        said = call(command, *words).output
        for kind in GROUPS:
            assert re.search(rf"\b{kind}\b", said), (words, kind)


def test_unknown_names_are_wrong_requests(call) -> None:
    result = call("show", "task", "abdomn")
    assert result.exit_code == 2
    assert "did you mean 'abdomen'" in result.stderr


def test_the_works_that_a_run_stands_on(run, call, plugin_words) -> None:
    run("--method", "centroid")
    [record] = Path("runs/balls/centroid").iterdir()
    text = call("cite", record.name[:6], *plugin_words).stdout
    assert "@misc{centroid," in text
    assert "@misc{balls," in text
    assert call("cite", record, record.name, *plugin_words).stdout == text, "each work once"
    result = call("cite", "nothing")
    assert result.exit_code == 2
    assert "no run called 'nothing'" in result.stderr


def test_doctor_looks_at_everything(call, tmp_path: Path) -> None:
    result = call("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert {"regbench", "packages", "GPU", "CPU", "folder: cache", "folder: runs", "records"} <= set(findings)
    assert "torch" in findings["packages"]["said"]
    bad = [finding for finding in findings.values() if finding["state"] == "bad"]
    assert result.exit_code == (1 if bad else 0)
    (tmp_path / "runs" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "b" / "c" / "run.json").write_text("{")
    result = call("doctor")
    assert result.exit_code == 1
    assert "run.json is no run record" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("kind", "name", "called"),
    [
        ("method", "centroid", "method"),
        ("task", "balls", "task"),
        ("metric", "dsc", "metric"),
        ("masks", "truth", "mask source"),
    ],
)
def test_sound_plugins_of_every_kind(call, plugin_words, kind: str, name: str, called: str) -> None:
    result = call("check", kind, name, *plugin_words)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"The {called} '{name}' keeps to its contract.\n"


FAULTY = """
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from regbench.api import Card, MaskRequest, MaskSource, Volume

@dataclass(frozen=True)
class Faulty(MaskSource):
    card: ClassVar[Card] = Card(title="Faulty", summary="Forgets a scan.")
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = True
    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        return {scan: request.truth[scan] for scan in list(request.scans)[1:]}
"""


def test_faults_are_told_one_by_one(call, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    result = call("check", "masks", "faulty", "--plugin", tmp_path / "faulty.py")
    assert result.exit_code == 1
    assert result.stderr == "- There is no mask for the scan train1.\nThe mask source 'faulty' has 1 fault.\n"


def test_what_cannot_be_checked_here_is_a_wrong_request(call) -> None:
    result = call("check", "masks", "files")
    assert result.exit_code == 2
    assert "masks.folder=DIR" in result.stderr


def test_version(call) -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("regbench 0.")


def test_help_without_a_word(call) -> None:
    result = call()
    assert result.exit_code == 0
    for command in ("run", "leaderboard", "list", "show", "data", "masks", "new", "check", "cite", "doctor"):
        assert command in result.stdout
