"""Resampling through affines against scipy and closed forms."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from regbench.api import Field, Grid
from regbench.errors import BadValueError
from regbench.spatial import resample, resample_displacement

SOURCE_SHAPE, TARGET_SHAPE = (14, 12, 10), (9, 13, 11)


def _grid(shape: tuple[int, int, int], matrix: np.ndarray, centre_mm: tuple[float, float, float]) -> Grid:
    """A grid of that shape whose middle lies at a point of the world."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array(centre_mm) - matrix @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


@pytest.fixture(params=["oblique", "flipped", "permuted"])
def grids(request: pytest.FixtureRequest, rotation: np.ndarray) -> tuple[Grid, Grid]:
    spacing = np.diag([1.2, 1.5, 2.0])
    matrices = {
        "oblique": rotation @ np.diag([1.4, 1.0, 1.6]),
        "flipped": np.diag([-1.3, 1.1, -1.7]),
        "permuted": np.diag([1.1, -1.4, 1.3])[[2, 0, 1]],
    }
    return (
        _grid(SOURCE_SHAPE, spacing, (1.0, -2.0, 3.0)),
        _grid(TARGET_SHAPE, matrices[request.param], (1.3, -1.8, 3.4)),
    )


def _expected(data: np.ndarray, source: Grid, target: Grid, order: int) -> tuple[np.ndarray, np.ndarray]:
    """What scipy makes of it, and where the target's voxels lie within the source's voxel centres."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    moved = ndimage.affine_transform(data, matrix, output_shape=target.shape, order=order, mode="constant")
    points = source.to_index(target.to_world(np.indices(target.shape).reshape(3, -1).T.astype(float)))
    inside = ((points >= 0) & (points <= np.array(source.shape) - 1)).all(1).reshape(target.shape)
    return moved, inside


def test_linear_is_scipys(grids: tuple[Grid, Grid]) -> None:
    data = np.random.default_rng(0).standard_normal(SOURCE_SHAPE)
    expected, inside = _expected(data, *grids, order=1)
    ours = resample(torch.from_numpy(data), *grids).numpy()
    assert inside.mean() > 0.3
    np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-12)
    single = resample(torch.from_numpy(data).float(), *grids)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), ours, atol=1e-5)


def test_nearest_is_scipys(grids: tuple[Grid, Grid]) -> None:
    labels = np.random.default_rng(0).integers(0, 255, SOURCE_SHAPE, dtype=np.uint8)
    expected, inside = _expected(labels, *grids, order=0)
    ours = resample(torch.from_numpy(labels), *grids, "nearest")
    assert ours.dtype == torch.uint8
    np.testing.assert_array_equal(ours.numpy()[inside], expected[inside])


def test_zero_beyond_the_field_of_view_and_the_outermost_value_at_its_rim() -> None:
    source = _grid((4, 4, 4), np.eye(3), (0.0, 0.0, 0.0))
    target = _grid((12, 1, 1), np.diag([0.5, 1, 1]), (0.0, 0.5, 0.5))  # from 2.75 mm left of the middle to 2.75 right
    data = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1).expand(4, 4, 4)
    line = resample(data, source, target)[:, 0, 0]
    expected = [0, 0, 1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4, 0, 0]
    torch.testing.assert_close(line, torch.tensor(expected))
    nearest = resample(data, source, target, "nearest")[:, 0, 0]
    assert nearest.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0]


def test_squeezing_a_field_of_view_is_torchs_interpolation() -> None:
    source = Grid.centred((7, 9, 8), (2.0, 1.0, 1.5))
    target = Grid.centred((5, 12, 6), (2.0 * 7 / 5, 1.0 * 9 / 12, 1.5 * 8 / 6))
    data = torch.rand(7, 9, 8, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(data[None, None], size=(5, 12, 6), mode="trilinear")[0, 0]
    torch.testing.assert_close(resample(data, source, target), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4, 6), (1, 3, 1), (2, 2, 1)])
def test_onto_itself(shape: tuple[int, int, int], rotation: np.ndarray) -> None:
    grid = _grid(shape, rotation @ np.diag([0.7, 2.0, 1.1]), (30.0, -20.0, 500.0))
    data = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(resample(data, grid, grid), data, rtol=0, atol=1e-12)
    assert torch.equal(resample(data, grid, grid, "nearest"), data)


def test_data_that_do_not_lie_on_the_grid() -> None:
    grid = Grid.centred((3, 3, 3), (1.0, 1.0, 1.0))
    with pytest.raises(BadValueError, match=r"shape \(3, 3, 2\) do not lie on a source grid of \(3, 3, 3\)"):
        resample(torch.zeros(3, 3, 2), grid, grid)


def test_a_displacement_keeps_its_millimetres(grids: tuple[Grid, Grid]) -> None:
    source, target = grids
    gain, offset_mm = np.array([[0.1, 0.02, 0], [-0.03, 0.05, 0.1], [0, 0.04, -0.1]]), np.array([1.0, -2.0, 0.5])

    def world_displacement(grid: Grid) -> np.ndarray:
        return grid.to_world(np.indices(grid.shape).reshape(3, -1).T.astype(float)) @ gain.T + offset_mm

    voxels = np.linalg.solve(source.affine[:3, :3], world_displacement(source).T).reshape(3, *source.shape)
    moved = resample_displacement(Field(torch.from_numpy(voxels), source), target)
    assert moved.grid is target
    _, inside = _expected(np.zeros(source.shape), source, target, order=1)
    ours_mm = (target.affine[:3, :3] @ moved.displacement.numpy().reshape(3, -1)).T
    np.testing.assert_allclose(ours_mm[inside.ravel()], world_displacement(target)[inside.ravel()], atol=1e-10)


def test_autocast_changes_nothing(grids: tuple[Grid, Grid]) -> None:
    data = torch.rand(SOURCE_SHAPE, generator=torch.Generator().manual_seed(0))
    field = Field(torch.randn(3, *SOURCE_SHAPE, generator=torch.Generator().manual_seed(1)), grids[0])
    expected = resample(data, *grids), resample_displacement(field, grids[1]).displacement
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resample(data, *grids), expected[0])
        assert torch.equal(resample_displacement(field, grids[1]).displacement, expected[1])
