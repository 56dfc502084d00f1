"""The classical method: its warp is converted exactly, it is deterministic, and what cannot be is said."""

import io
import sys

import numpy as np
import pytest
import torch

from regbench.api import Grid, Pair, Volume
from regbench.errors import PluginError, RunError
from regbench.spatial import jacobian_determinant, warp
from regbench.testing import check_method
from regbench_baselines.greedy import Greedy, from_warp, to_image

SHAPE = (26, 18, 22)
QUICK = Greedy(iterations=(20, 10))


def smooth(seed: int) -> torch.Tensor:
    coarse = torch.rand((1, 1, 6, 5, 6), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=SHAPE, mode="trilinear", align_corners=True)[0, 0]


def turned(*, flip: bool = False, permute: bool = False, shear: float = 0.0) -> Grid:
    """An oblique, anisotropic grid far from the origin."""
    a, b = 0.3, 0.2
    about_k = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_i = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    axes = about_k @ about_i @ np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    axes = axes @ np.diag([-1 if flip else 1, 1, 1])
    axes = axes[:, [2, 0, 1]] if permute else axes
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag([1.5, 2.0, 3.5])
    affine[:3, 3] = (-40.0, 300.0, 12.0)
    return Grid(SHAPE, affine)


GRIDS = {
    "axis-aligned": Grid.centred(SHAPE, (1.5, 2.0, 3.5)),
    "oblique": turned(),
    "flipped": turned(flip=True),
    "permuted": turned(permute=True),
    "sheared": turned(shear=0.2),
}


def pair_on(grid: Grid) -> Pair:
    return Pair(Volume(smooth(0), grid), Volume(smooth(1), grid))


@pytest.mark.parametrize("name", GRIDS)
def test_greedy_and_regbench_warp_an_image_alike(name: str) -> None:
    picsl, images = pytest.importorskip("picsl_greedy"), pytest.importorskip("SimpleITK")
    pair, engine, log = pair_on(GRIDS[name]), picsl.GreedyFloat3D(), io.StringIO()
    fixed, moving = (to_image(images, volume.data, pair.grid) for volume in (pair.fixed, pair.moving))
    engine.execute(
        "-i f m -m NCC 2x2x2 -n 20x10 -s 1.732vox 0.707vox -noise 0 -wp 0 -o w -V 0",
        out=log, err=log, f=fixed, m=moving, w=None,
    )  # fmt: skip
    engine.execute("-rf f -rm m moved -r w -V 0", out=log, err=log, moved=None)
    theirs = torch.from_numpy(images.GetArrayFromImage(engine["moved"]).transpose(2, 1, 0).copy())
    u = from_warp(images, engine["w"], pair.grid)
    assert u.abs().amax() > 1, "nothing has moved, nothing is proven"
    ours = warp(pair.moving.data[None, None], u[None])[0, 0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_the_contract() -> None:
    pytest.importorskip("picsl_greedy")
    assert check_method(QUICK) == []


def test_the_number_of_threads_changes_nothing() -> None:
    picsl, images = pytest.importorskip("picsl_greedy"), pytest.importorskip("SimpleITK")
    pair, log = pair_on(GRIDS["oblique"]), io.StringIO()
    u = []
    for threads in (1, 3):
        engine = picsl.GreedyFloat3D()
        scans = [to_image(images, volume.data, pair.grid) for volume in (pair.fixed, pair.moving)]
        words = f"-i f m -o w -threads {threads} {QUICK.options(pair.grid)}"
        engine.execute(words, out=log, err=log, f=scans[0], m=scans[1], w=None)
        u.append(from_warp(images, engine["w"], pair.grid))
    assert torch.equal(*u)
    assert torch.equal(u[0], QUICK.register(pair).displacement)


def test_the_right_way_without_folding() -> None:
    pytest.importorskip("picsl_greedy")
    grid = Grid.centred(SHAPE, (1.5, 2.0, 3.5))
    place = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")).float()
    shift = torch.tensor([2.0, -1.0, 1.5])[:, None, None, None]
    fixed, moving = (torch.exp(-(p.square().sum(0) / 30)) for p in (place, place - shift))
    u = Greedy().register(Pair(Volume(fixed, grid), Volume(moving, grid))).displacement
    middle = (u * fixed).sum((1, 2, 3)) / fixed.sum()
    torch.testing.assert_close(middle, shift.flatten(), rtol=0, atol=0.3)
    assert jacobian_determinant(u).amin() > 0


def test_resolutions_fit_the_thinnest_axis() -> None:
    def resolutions(*shape: int) -> str:
        i, j, k = shape
        words = Greedy(iterations=(9, 8, 7, 6)).options(Grid.centred((i, j, k), (1.0, 1.0, 1.0))).split()
        return words[words.index("-n") + 1]

    assert [resolutions(64, 64, n) for n in (64, 16, 8, 7, 4)] == ["9x8x7x6", "8x7x6", "7x6", "6", "6"]


def test_the_thinnest_scans_that_it_takes() -> None:
    pytest.importorskip("picsl_greedy")
    for thin, taken in ((4, True), (3, False)):
        grid = Grid.centred((16, 12, thin), (1.0, 1.0, 4.0))
        pair = Pair(*(Volume(smooth(seed)[:16, :12, :thin], grid) for seed in (0, 1)))
        assert (Greedy().skip(pair) is None) == taken
        if taken:
            assert torch.isfinite(Greedy().register(pair).displacement).all()


@pytest.mark.parametrize("other", [torch.full(SHAPE, 0.5), smooth(0)])
def test_where_nothing_can_be_gained_nothing_moves(other: torch.Tensor) -> None:
    pytest.importorskip("picsl_greedy")
    grid = GRIDS["oblique"]
    field = QUICK.register(Pair(Volume(smooth(0), grid), Volume(other, grid)))
    assert torch.equal(field.displacement, torch.zeros(3, *SHAPE))


def test_what_greedy_makes_of_nonsense_is_no_field() -> None:
    pytest.importorskip("picsl_greedy")
    pair = pair_on(GRIDS["oblique"])
    broken = pair.moving.data.clone()
    broken[3:9] = float("inf")
    with pytest.raises(RunError, match="greedy"):
        QUICK.register(Pair(pair.fixed, Volume(broken, pair.grid)))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("picsl_greedy")
    QUICK.register(pair_on(GRIDS["oblique"]))
    assert capfd.readouterr() == ("", "")


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_on(GRIDS["oblique"])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("picsl_greedy", "SimpleITK"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert "pip install 'regbench[peers]'" in (QUICK.skip(pair) or "")
    for attempt in (lambda: QUICK.register(pair), lambda: check_method(QUICK)):
        with pytest.raises(PluginError, match=r"pip install 'regbench\[peers\]'"):
            attempt()
