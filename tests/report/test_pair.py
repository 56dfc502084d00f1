from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from regbench.api import Field, Grid, Pair, Percentiles, Volume, Window
from regbench.registration.pair import OwnScans, Preparation, Registration, present, register_own
from regbench.report.pictures import pair as room
from regbench.report.pictures.pair import pair_picture

GRID = Grid.centred((20, 16, 12), (2.0, 2.0, 3.0))
LOW = Window(low=0, high=1)


def own(grid: Grid = GRID, *, labelled: bool = True) -> OwnScans:
    scan = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0))
    organ = torch.zeros(grid.shape, dtype=torch.uint8)
    organ[tuple(slice(n // 4, n // 4 + max(1, n // 2)) for n in grid.shape)] = 3
    volume, labels = Volume(scan, grid), Volume(organ, grid) if labelled else None
    return OwnScans(volume, Volume(scan.flip(0).contiguous(), grid), fixed_labels=labels, moving_labels=labels)


def registered(scans: OwnScans, u: float = 0.0) -> Registration:
    def method(pair: Pair) -> Field:
        noise = torch.randn(3, *pair.grid.shape, generator=torch.Generator().manual_seed(1))
        return Field(u * noise, pair.grid)

    return register_own(scans, present(scans, Preparation(LOW)), method)


def pixels(png: bytes) -> np.ndarray:
    return imread(BytesIO(png), format="png")


@pytest.mark.parametrize("labelled", [True, False])
def test_a_picture_of_three_planes_and_six_panels(labelled: bool) -> None:
    scans = own(labelled=labelled)
    found = registered(scans, 0.2)
    png = pair_picture(scans, found, LOW, "a title")
    assert pixels(png).shape[1] == pytest.approx((6 * room._PANEL_IN + 0.6) * room._DPI, abs=2)
    assert png == pair_picture(scans, found, LOW, "a title")  # nothing of the day or the machine is in it
    assert png != pair_picture(scans, registered(scans), LOW, "a title")


def test_the_labels_of_the_moving_scan_are_drawn_before_and_after() -> None:
    scans = own()
    assert scans.moving_labels is not None
    scans = replace(scans, moving_labels=Volume(scans.moving_labels.data.roll(2, 0), GRID))
    found = registered(scans)
    without = replace(found, before_labels=None), replace(found, moved_labels=None)
    whole, *changed = (pixels(pair_picture(scans, one, LOW, "")) for one in (found, *without))
    width = whole.shape[1] * room._PANEL_IN / (6 * room._PANEL_IN + 0.6)
    columns = [(whole != one).any((0, 2)).nonzero()[0] / width for one in changed]
    assert [set(np.unique(found.astype(int))) for found in columns] == [{1}, {2}]


def test_the_lines_are_explained() -> None:
    scans, bare = own(), own(labelled=False)
    (said,) = room._lines(room._shown(scans, registered(scans), LOW))
    assert "moving labels dashed" in said
    assert room._lines(room._shown(bare, registered(bare), LOW)) == []


@pytest.mark.parametrize("shape", [(30, 24, 1), (12, 1, 9), (40, 40, 4)])
def test_thin_scans_are_drawn(shape: tuple[int, int, int]) -> None:
    scans = own(Grid.centred(shape, (1.5, 1.5, 10.0)))
    assert pixels(pair_picture(scans, registered(scans), Percentiles(), "thin")).std() > 0


def test_planes_go_through_the_middle_of_what_is_labelled() -> None:
    scans = own()
    found = {plane.name: plane.place for plane in room._planes(scans.fixed, scans.fixed_labels, (0.0, 1.0))}
    assert found == {"axial": 6, "coronal": 8, "sagittal": 10}
    dark = Volume(torch.zeros(GRID.shape), GRID)
    assert [plane.place for plane in room._planes(dark, None, (0.0, 1.0))] == [6, 8, 10]


def test_folds_are_black_and_nothing_else_on_the_map_is() -> None:
    """A field that folds in the plane that is shown, and one that does not."""
    scans = own()
    folding, flat = (pixels(pair_picture(scans, registered(scans, u), LOW, "")) for u in (2.0, 0.0))
    left = int(flat.shape[1] * 5 / 6.3)
    black = [(image[100:, left : left + 250, :3].max(-1) < 0.02).sum() for image in (folding, flat)]
    assert registered(scans, 2.0).folding_percent > 5
    assert black[0] > 20 * max(1, black[1])


def test_the_shift_of_the_whole_scan_does_not_blur_the_grid() -> None:
    """Scans that were brought together over a metre: the grid is drawn where it is."""
    near = own(labelled=False)
    affine = GRID.affine.copy()
    affine[0, 3] += 1000
    far = OwnScans(near.fixed, Volume(near.moving.data, Grid(GRID.shape, affine)))
    found = registered(far, 0.0)
    assert found.presented.shift_mm[0] == -1000
    png, other = (pixels(pair_picture(s, registered(s), LOW, "")) for s in (far, near))
    np.testing.assert_allclose(png, other, atol=1e-3)
