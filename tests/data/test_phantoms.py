"""The embedded cohorts are made once."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from regbench.api import Shape
from regbench.data import load_cohort, phantom_folder
from regbench.data.cohorts import phantoms

SMALL = (12, 10, 14)


@pytest.fixture
def counting(toy: ModuleType) -> object:
    """The toy task, which counts how often it makes a cohort."""

    class Counting(toy.ToyTask):
        made = 0

        def phantom(self, folder: Path, *, cases: int, seed: int, shape: Shape) -> None:
            Counting.made += 1
            super().phantom(folder, cases=cases, seed=seed, shape=shape)

    return Counting()


def test_it_is_made_at_the_first_call_and_found_at_the_next(counting: object, tmp_path: Path) -> None:
    first = phantom_folder("toy", counting, shape=SMALL, cases=4, seed=0, cache=tmp_path)
    assert phantom_folder("toy", counting, shape=SMALL, cases=4, seed=0, cache=tmp_path) == first
    assert counting.made == 1
    cohort = load_cohort(counting, first, counting.protocols()["phantom"].at(SMALL), cache=tmp_path)
    assert cohort.images.shape == (4, 1, *SMALL)


def test_what_it_is_made_of_tells_one_from_another(
    counting: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"shape": SMALL, "cases": 4, "seed": 0, "cache": tmp_path}
    changes = ({}, {"seed": 1}, {"cases": 5}, {"shape": (12, 10, 16)})
    folders = [phantom_folder("toy", counting, **(base | change)) for change in changes]
    folders.append(phantom_folder("other", counting, **base))
    monkeypatch.setattr(phantoms, "_code", lambda task: "another generator")
    folders.append(phantom_folder("toy", counting, **base))
    assert len(set(folders)) == len(folders) == counting.made


@pytest.mark.parametrize("spoil", ["unlink", "cut", "flip", "list"])
def test_one_that_is_no_longer_whole_is_made_again(counting: object, tmp_path: Path, spoil: str) -> None:
    folder = phantom_folder("toy", counting, shape=SMALL, cases=4, seed=0, cache=tmp_path)
    path = folder / "imagesTr" / "AbdomenCTCT_0002_0000.nii.gz"
    whole = path.read_bytes()
    if spoil == "unlink":
        path.unlink()
    elif spoil == "cut":
        path.write_bytes(whole[:-1])
    elif spoil == "flip":
        path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    else:
        (folder.parent / "files.json").write_text("{")
    assert phantom_folder("toy", counting, shape=SMALL, cases=4, seed=0, cache=tmp_path) == folder
    assert path.read_bytes() == whole
    assert counting.made == 2


def test_a_generator_that_fails_leaves_nothing(
    counting: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, folder: Path, **settings: object) -> None:
        (folder / "imagesTr").mkdir(parents=True)
        raise RuntimeError("no anatomy today")

    monkeypatch.setattr(type(counting), "phantom", fail)
    with pytest.raises(RuntimeError, match="no anatomy"):
        phantom_folder("toy", counting, shape=SMALL, cases=4, seed=0, cache=tmp_path)
    assert list((tmp_path / "phantoms").iterdir()) == []


def test_the_generator_s_version_is_its_package_s_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_phantoms"
    package.mkdir()
    (package / "__init__.py").write_text("from regbench.api import Task\n\nclass Anatomy(Task): ...\n")
    (package / "organs.py").write_text("LIVER = 6\n")
    single = tmp_path / "toy_single.py"
    single.write_text("from regbench.api import Task\n\nclass Anatomy(Task): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, file in (("toy_phantoms", package / "organs.py"), ("toy_single", single)):
        module = __import__(name)
        before = phantoms._code(module.Anatomy)
        assert phantoms._code(module.Anatomy) == before
        file.write_text(file.read_text() + "SPLEEN = 1\n")
        assert phantoms._code(module.Anatomy) != before
        del sys.modules[name]
