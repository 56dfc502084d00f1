import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from regbench.api import PairId
from regbench.engine import Plan
from regbench.engine.records.run_id import content_digest, data_fingerprint, run_id
from regbench.engine.records.source import _files, source_digest

Make = Callable[..., Plan]


def test_what_cannot_change_a_score_does_not_count(make_plan: Make, toys: ModuleType, tmp_path: Path) -> None:
    plan = make_plan()
    unchanged = {
        "folder": tmp_path / "elsewhere",
        "save_fields": True,
        "metrics": {},
        "cache": None,
        "checkpoint_seconds": 1.0,
        "protocol": plan.protocol.model_copy(update={"title": "other", "notes": ("more",), "quick_shape": (1, 1, 1)}),
        "device": torch.device("cpu", 0),
    }
    for name, value in unchanged.items():
        assert run_id(replace(plan, **{name: value}), "data") == run_id(plan, "data"), name
    never = make_plan(toys.Shift())
    assert run_id(replace(never, masks=toys.chosen("masks", toys.Halves())), "data") == run_id(never, "data")


def test_a_setting_of_the_task_counts_by_what_lies_at_a_path(make_plan: Make, tmp_path: Path) -> None:
    plan = make_plan()

    @dataclass(frozen=True)
    class WithAtlas(type(plan.task)):  # type: ignore[misc]
        atlas: Path | None = None

    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("one")
    (tmp_path / "c").write_text("two")
    ids = [run_id(replace(plan, task=WithAtlas(atlas=tmp_path / name)), "data") for name in "abc"]
    assert ids[0] == ids[1] != ids[2]
    assert run_id(replace(plan, task=WithAtlas()), "data") == run_id(plan, "data"), "a default says nothing"


def changes(plan: Plan, toys: ModuleType) -> dict[str, Plan]:
    protocol = plan.protocol
    assert plan.recipe is not None
    halves = toys.chosen("masks", toys.Halves())

    def with_protocol(**update: Any) -> Plan:
        return replace(plan, protocol=protocol.model_copy(update=update))

    return {
        "seed": replace(plan, seed=1),
        "preset's grid": replace(plan, protocol=protocol.at((8, 8, 8))),
        "revision": with_protocol(revision=2),
        "training pairs": with_protocol(train_pairs=protocol.train_pairs[:1]),
        "direction": with_protocol(test_pairs=(PairId("0004", "0001"), PairId("0001", "0004"))),
        "labels": with_protocol(labels={1: "north"}),
        "configuration": replace(plan, method=toys.chosen("method", toys.ToyMethod(fast=False))),
        "name": replace(plan, method=toys.chosen("method", toys.ToyMethod(), "other")),
        "version": replace(plan, method=replace(plan.method, plugin=replace(plan.method.plugin, version="2"))),
        "masks": replace(plan, masks=halves),
        "masks' configuration": replace(plan, masks=toys.chosen("masks", toys.Halves(label=2))),
        "recipe": replace(plan, recipe=replace(plan.recipe, flips=True)),
        "steps": replace(plan, recipe=replace(plan.recipe, steps=13)),
        "budget": replace(plan, budget_seconds=3.0),
        "device": replace(plan, device=torch.device("cuda")),
        "precision": replace(plan, precision="bfloat16"),
        "kind of data": replace(plan, data="real"),
    }


def test_what_can_change_a_score_counts(make_plan: Make, toys: ModuleType) -> None:
    plan = make_plan()
    ids = {"nothing": run_id(plan, "data"), "data": run_id(plan, "other data")}
    ids |= {name: run_id(changed, "data") for name, changed in changes(plan, toys).items()}
    assert len(set(ids.values())) == len(ids), ids


def test_a_file_counts_by_its_content(make_plan: Make, toys: ModuleType, tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.write_text("one")
    there.write_text("one")

    def identity(file: Path) -> str:
        return run_id(make_plan(masks=toys.Halves(file=file)), "data")

    first = identity(here)
    assert identity(there) == first
    there.write_text("two")
    assert identity(there) != first
    assert identity(tmp_path / "nowhere") not in (first, identity(there))


def test_a_folder_counts_by_what_is_shown_in_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text("x")
    first = content_digest(tmp_path / "a")
    (tmp_path / "b" / ".hidden").write_text("y")
    assert content_digest(tmp_path / "b") == first
    (tmp_path / "b" / "below" / "file").rename(tmp_path / "b" / "file")
    assert content_digest(tmp_path / "b") != first


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "made_for_a_test"
    files = {
        "__init__.py": "",
        "method.py": "import json\nfrom .parts import blocks\nfrom made_for_a_test.other import X\nclass Mine: ...\n",
        "parts/__init__.py": "",
        "parts/blocks.py": "def late():\n    from ..deep import thing\n",
        "deep.py": "import made_for_a_test.method\nthing = 1\n",
        "other.py": "X = 1\n",
        "stranger.py": "",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_an_edited_module_is_another_method(package: Path) -> None:
    plugin = importlib.import_module("made_for_a_test.method").Mine
    digests = [source_digest(plugin)]
    for name in ("stranger.py", "method.py", "parts/blocks.py", "deep.py", "other.py", "parts/__init__.py"):
        with (package / name).open("a") as file:
            file.write("# edited\n")
        digests.append(source_digest(plugin))
    first, after_stranger, *others = digests
    assert first == after_stranger
    assert len({first, *others}) == 6


def test_of_the_harness_only_the_plugins_own_room_counts() -> None:
    plugin = importlib.import_module("regbench.masks.truth").TruthMasks
    modules = _files(plugin.__module__)
    assert "regbench.masks.truth" in modules
    assert all(name.startswith("regbench.masks") for name in modules)


def test_the_source_of_a_plugin_file(toys: ModuleType, make_plan: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    before = run_id(plan, "data")
    assert toys.__spec__ is not None
    monkeypatch.setattr(toys.__spec__, "origin", __file__)
    assert run_id(plan, "data") != before


def test_the_fingerprint_is_that_of_the_protocols_scans(make_plan: Make, tmp_path: Path) -> None:
    plan = make_plan()
    before = data_fingerprint(plan)
    assert before == data_fingerprint(plan)
    fewer = plan.protocol.model_copy(update={"test": ("0001",), "test_pairs": ()})
    assert data_fingerprint(replace(plan, protocol=fewer)) != before


@pytest.mark.parametrize("row", ["toy", "toy[-fast]"])
def test_ids_are_short_and_plain(make_plan: Make, toys: ModuleType, row: str) -> None:
    plan = make_plan(toys.ToyMethod(fast=row == "toy"))
    assert run_id(plan, "data").isalnum()
    assert len(run_id(plan, "data")) == 12
