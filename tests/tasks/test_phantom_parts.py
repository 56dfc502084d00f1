"""The phantoms' parts: solids, canvas, spline maps, flows, files, against closed forms."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.linalg import expm

from regbench.api import Grid
from regbench_tasks.phantom.canvas import Canvas
from regbench_tasks.phantom.files import inside, write_landmarks, write_nifti
from regbench_tasks.phantom.landmarks import evaluate, gradient, organ_points
from regbench_tasks.phantom.paints import layered, mottled, value_of
from regbench_tasks.phantom.random_fields import Waves, flow, smooth_noise, stream
from regbench_tasks.phantom.shapes import (
    Solid,
    boxed,
    common,
    ellipsoid,
    grown,
    mirrored,
    rotation,
    smooth_min,
    tube,
    union,
    without,
)
from regbench_tasks.phantom.spline import ControlGrid, SplineMap

CONTROL = ControlGrid((100.0, 80.0, 120.0), rim_mm=40.0, step_mm=(10.0, 10.0, 10.0))


def points_in(half: float, count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-half, half, (count, 3))


# ---- solids


def test_the_distance_to_a_sphere_is_exact() -> None:
    p = points_in(40)
    ball = ellipsoid((3, -4, 5), (12, 12, 12))
    np.testing.assert_allclose(evaluate(ball, p), np.linalg.norm(p - [3, -4, 5], axis=1) - 12, atol=1e-4)


def test_an_ellipsoid_has_its_surface_and_a_unit_slope_where_the_equation_says() -> None:
    directions = points_in(1, 200)
    axes = rotation((20, -30, 40))
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    surface = np.array([1, 2, 3]) + (unit * [10, 20, 30]) @ axes.T
    solid = ellipsoid((1, 2, 3), (10, 20, 30), (20, -30, 40))
    np.testing.assert_allclose(evaluate(solid, surface), 0, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(gradient(solid, surface), axis=1), 1, atol=0.02)
    assert np.all(surface >= np.array(solid.low) - 1e-3)
    assert np.all(surface <= np.array(solid.high) + 1e-3)
    assert surface.max(0) == pytest.approx(solid.high, abs=2.0)


def test_turning_goes_from_x_to_y() -> None:
    np.testing.assert_allclose(rotation((0, 0, 90)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    long_along_y = ellipsoid((0, 0, 0), (20, 5, 5), (0, 0, 90))
    assert evaluate(long_along_y, np.array([[0.0, 18.0, 0.0]])) < 0 < evaluate(long_along_y, np.array([[18.0, 0, 0]]))


def test_the_distance_to_a_straight_tube_is_exact() -> None:
    p = points_in(50)
    pipe = tube([(0, 0, -20), (0, 0, 0), (0, 0, 20)], [6, 6, 6])
    over = np.maximum(np.abs(p[:, 2]) - 20, 0)
    np.testing.assert_allclose(evaluate(pipe, p), np.sqrt(p[:, 0] ** 2 + p[:, 1] ** 2 + over**2) - 6, atol=1e-3)
    assert pipe.low == pytest.approx((-6, -6, -26))


def test_a_squashed_tube_is_thinner_by_that_factor() -> None:
    ribbon = tube([(0, 0, -20), (0, 0, 20)], [8, 8], squash=(2, 1, 1))
    at = evaluate(ribbon, np.array([[3.9, 0, 0], [4.1, 0, 0], [0, 7.9, 0], [0, 8.1, 0]]))
    np.testing.assert_array_equal(at < 0, [True, False, True, False])
    assert ribbon.high[:2] == pytest.approx((4, 8))


def test_set_operations_agree_with_the_operations_on_their_insides() -> None:
    p = points_in(30, 3000)
    a, b = ellipsoid((-6, 0, 0), (14, 14, 14)), ellipsoid((6, 0, 0), (14, 10, 14))
    in_a, in_b = evaluate(a, p) < 0, evaluate(b, p) < 0
    np.testing.assert_array_equal(evaluate(union(a, b), p) < 0, in_a | in_b)
    np.testing.assert_array_equal(evaluate(common(a, b), p) < 0, in_a & in_b)
    np.testing.assert_array_equal(evaluate(without(a, b), p) < 0, in_a & (evaluate(b, p) > 0))
    np.testing.assert_array_equal(evaluate(grown(a, 3), p) < 0, evaluate(a, p) < 3)
    np.testing.assert_array_equal(evaluate(mirrored(a), p), evaluate(a, p * [-1, 1, 1]))
    assert mirrored(a).low[0] == -a.high[0]
    assert np.all((evaluate(union(a, b, blend=6), p) < 0) >= (in_a | in_b))
    assert np.all((evaluate(common(a, b, blend=6), p) < 0) <= (in_a & in_b))


def test_the_smooth_minimum_differs_only_near_the_kink_and_by_a_quarter_of_the_blend() -> None:
    a, b = np.float32([0, 0, 0]), np.float32([0, 10, -10])
    np.testing.assert_allclose(smooth_min(a, b, 4.0), [-1, 0, -10])


# ---- canvas and paints


def test_a_voxel_on_the_surface_mixes_both_sides_and_a_label_is_sharp() -> None:
    x = np.linspace(-10, 10, 41, dtype=np.float32)
    coordinates = np.stack(np.meshgrid(x, x[:3], x[:3], indexing="ij"))
    canvas = Canvas(coordinates, 2.0, 0.0)
    canvas.paint(Solid(lambda p: p[0], (-1e6,) * 3, (0.0, 1e6, 1e6)), 100.0, label=7)
    np.testing.assert_allclose(canvas.image[:, 1, 1], 100 * np.clip(0.5 - x / 2, 0, 1), atol=1e-4)
    np.testing.assert_array_equal(canvas.labels[:, 1, 1], np.where(x < 0, 7, 0))


def test_a_solid_outside_the_grid_leaves_it_alone() -> None:
    coordinates = np.zeros((3, 4, 4, 4), dtype=np.float32)
    canvas = Canvas(coordinates, 1.0, 5.0)
    canvas.paint(ellipsoid((50, 0, 0), (4, 4, 4)), 100.0, label=1)
    assert np.all(canvas.image == 5)
    assert not canvas.labels.any()


def test_painting_within_a_box_equals_painting_everywhere() -> None:
    rng = np.random.default_rng(1)
    coordinates = rng.uniform(-30, 30, (3, 9, 8, 7)).astype(np.float32)
    small = ellipsoid((5, -5, 3), (9, 12, 15), (10, 20, 30))
    images = []
    for solid in (small, boxed(small, (-1e6,) * 3, (1e6,) * 3)):
        canvas = Canvas(coordinates, 3.0, 0.0)
        canvas.paint(solid, mottled(50.0, (5.0, Waves(stream(1), 20.0))), label=2)
        images.append((canvas.image, canvas.labels))
    np.testing.assert_array_equal(images[0][0], images[1][0])
    np.testing.assert_array_equal(images[0][1], images[1][1])
    assert images[0][1].any()


def test_layers_change_at_their_depth() -> None:
    depth = np.float32([-1, -4, -9])
    zero = np.zeros(3, dtype=np.float32)
    np.testing.assert_allclose(value_of(layered(10.0, 90.0, 4.0, 2.0), (zero, zero, zero), depth), [10, 50, 90])


# ---- random fields


def test_streams_depend_on_every_part_of_the_key() -> None:
    draws = {key: stream(*key).random() for key in [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3)]}
    assert len(set(draws.values())) == 4
    assert stream(1, 2, 3).random() == draws[1, 2, 3]


@pytest.mark.parametrize("sigma", [1.5, (3.0, 1.0, 0.0)])
def test_smooth_noise_has_unit_variance(sigma: float | tuple[float, float, float]) -> None:
    assert smooth_noise(stream(0), (48, 48, 48), sigma).std() == pytest.approx(1.0, abs=0.08)


def test_waves_have_unit_variance() -> None:
    x, y, z = points_in(300, 20000).astype(np.float32).T
    assert Waves(stream(0), 20.0)((x, y, z)).std() == pytest.approx(1.0, abs=0.05)


# ---- spline maps


def test_a_map_on_a_grid_is_the_map_at_its_voxels() -> None:
    rng = np.random.default_rng(0)
    spline = SplineMap(CONTROL, rng.normal(0, 4, (3, *CONTROL.shape)).astype(np.float32))
    grid = Grid.centred((9, 7, 11), (11.0, 12.0, 10.5))
    index = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3).astype(float)
    expected = spline.at(grid.to_world(index))
    np.testing.assert_allclose(spline.on_grid(grid).reshape(3, -1).T, expected, atol=1e-4)


def test_a_linear_displacement_is_reproduced_by_its_own_values_as_weights() -> None:
    matrix = np.array([[0.1, 0.02, 0], [0, -0.1, 0.05], [0.03, 0, 0.2]])
    weights = np.einsum("ab,bijk->aijk", matrix, np.stack(CONTROL.points()))
    spline = SplineMap(CONTROL, weights.astype(np.float32))
    p = points_in(40)
    np.testing.assert_allclose(spline.at(p), p + p @ matrix.T, atol=1e-3)
    np.testing.assert_allclose(spline.jacobian_at(p)[0], np.eye(3) + matrix, atol=1e-3)
    assert spline.least_determinant() == pytest.approx(np.linalg.det(np.eye(3) + matrix), abs=1e-3)


def test_the_inverse_is_found_also_where_the_map_bends_strongly() -> None:
    rng = np.random.default_rng(3)
    noise = np.stack([smooth_noise(rng, CONTROL.shape, 2.0) for _ in range(3)])
    spline = flow((14 * noise * CONTROL.fade()).astype(np.float32), CONTROL)
    p = points_in(40)
    assert np.abs(spline.at(p) - p).max() > 15
    np.testing.assert_allclose(spline.at(spline.inverse_at(p)), p, atol=2e-4)


def test_a_map_that_is_not_onto_has_no_inverse() -> None:
    x, y, z = CONTROL.points()
    collapsed = SplineMap(CONTROL, np.stack([-x, np.zeros_like(y), np.zeros_like(z)]))
    with pytest.raises((ArithmeticError, np.linalg.LinAlgError)):
        collapsed.inverse_at(np.array([[5.0, 0.0, 0.0]]))


def test_the_fade_is_one_in_the_box_and_zero_at_the_rim() -> None:
    fade, (x, _, _) = CONTROL.fade(), CONTROL.points()
    middle = tuple(n // 2 for n in CONTROL.shape)
    assert fade[middle] == 1
    assert np.all(fade[np.abs(x) > 50 + 40] < 1e-6)


def test_the_flow_of_a_linear_velocity_is_its_matrix_exponential() -> None:
    matrix = np.array([[0.2, -0.3, 0], [0.3, 0.1, 0.0], [0, 0, -0.25]])
    velocity = np.einsum("ab,bijk->aijk", matrix, np.stack(CONTROL.points())).astype(np.float32)
    p = points_in(20)
    np.testing.assert_allclose(flow(velocity, CONTROL).at(p), p @ expm(matrix).T, atol=0.15)


def test_flows_never_fold_however_strong_the_velocity() -> None:
    rng = np.random.default_rng(5)
    noise = np.stack([smooth_noise(rng, CONTROL.shape, 1.2) for _ in range(3)])
    assert flow((40 * noise * CONTROL.fade()).astype(np.float32), CONTROL).least_determinant() > 0.1


# ---- landmarks and files


def test_organ_points_lie_inside_and_on_the_surface_and_out_of_what_covers_it() -> None:
    organ, cover = ellipsoid((0, 0, 0), (30, 20, 25)), ellipsoid((20, 0, 0), (15, 15, 15))
    p = organ_points(organ, [cover], 40, key=(0, 1))
    depth = evaluate(organ, p)
    assert len(p) == 40
    assert np.all(depth[:20] < -1.4)
    np.testing.assert_allclose(depth[20:], 0, atol=0.02)
    assert np.all(evaluate(cover, p) > 0.9)


def test_a_nifti_file_holds_no_time_and_reads_back(tmp_path: Path) -> None:
    grid = Grid.centred((4, 5, 6), (2.0, 3.0, 4.0))
    data = np.arange(120, dtype=np.int16).reshape(4, 5, 6) - 60
    write_nifti(tmp_path / "a" / "scan.nii.gz", data, grid)
    packed = (tmp_path / "a" / "scan.nii.gz").read_bytes()
    assert packed[4:8] == b"\0\0\0\0"
    assert len(gzip.decompress(packed)) == 352 + 240
    image = nib.load(tmp_path / "a" / "scan.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    np.testing.assert_allclose(image.affine, grid.affine)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_xyzt_units()[0] == "mm"


def test_landmarks_are_written_as_a_table(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "points.csv", {"tip": np.array([1.0, -2.5, 3.25])})
    assert (tmp_path / "points.csv").read_bytes() == b"name,x,y,z\ntip,1.0000,-2.5000,3.2500\n"


def test_points_are_inside_up_to_the_outermost_voxel_centres() -> None:
    grid = Grid.centred((5, 5, 5), (2.0, 2.0, 2.0))
    p = np.array([[4.0, 0, 0], [4.1, 0, 0], [0, 0, -4.0], [0, -4.5, 0]])
    np.testing.assert_array_equal(inside(p, grid), [True, False, True, False])
