"""SDlogJ and folding against numpy in float64 and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from regbench.errors import BadValueError
from regbench.metrics import folding_percent, sdlogj
from regbench.metrics.regularity import folding_percent_of_determinants, sdlogj_of_determinants


def _linear(matrix: list[list[float]], shape: tuple[int, int, int] = (9, 8, 10)) -> Tensor:
    """u(x) = (A − 1)·x, so that the map is A."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"))
    return torch.einsum("ab,bijk->aijk", torch.tensor(matrix, dtype=torch.float64) - torch.eye(3), index)


def _rough(scale: float, shape: tuple[int, int, int] = (14, 12, 13)) -> Tensor:
    return scale * torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _plain_determinants(u: np.ndarray) -> np.ndarray:
    """Nine correlations of the whole field in float64."""
    kernels = [np.array([-0.5, 0, 0.5]).reshape([3 if a == b else 1 for b in range(3)]) for a in range(3)]
    gradient = np.array([[ndimage.correlate(part, kernel, mode="constant") for kernel in kernels] for part in u])
    jacobian = np.moveaxis(gradient + np.eye(3)[:, :, None, None, None], (0, 1), (-2, -1))
    return np.linalg.det(jacobian[2:-2, 2:-2, 2:-2])


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0])
def test_equal_to_the_plain_way(scale: float) -> None:
    u = _rough(scale)
    determinants = _plain_determinants(u.numpy())
    l2r = np.std(np.log(np.clip(determinants + 3, 1e-9, 1e9)))
    strict = np.std(np.log(np.clip(determinants, 1e-9, 1e9)))
    assert sdlogj(u, "l2r") == pytest.approx(l2r, rel=1e-12)
    assert sdlogj(u) == sdlogj(u, "strict") == pytest.approx(strict, rel=1e-12)
    assert folding_percent(u) == pytest.approx(100 * np.mean(determinants <= 0), rel=1e-12)


def test_float32_is_within_1e_9_of_float64() -> None:
    noise = np.random.default_rng(0).standard_normal((3, 72, 72, 72))
    u = torch.from_numpy(40 * ndimage.gaussian_filter(noise, (0, 4, 4, 4)))
    assert sdlogj(u.float(), "l2r") == pytest.approx(sdlogj(u.float().double(), "l2r"), abs=1e-9)
    assert sdlogj(u.float()) == pytest.approx(sdlogj(u.float().double()), abs=1e-9)


def test_a_map_of_one_volume_change_has_no_spread() -> None:
    u = _linear([[1.5, 0.2, 0], [0, 0.8, 0.1], [0.3, 0, 1.2]])
    assert sdlogj(u) == pytest.approx(0, abs=1e-14)
    assert sdlogj(u.float(), "l2r") == pytest.approx(0, abs=1e-6)
    assert folding_percent(u) == 0


def test_the_identity_has_none_at_all() -> None:
    u = torch.zeros(3, 6, 7, 8)
    assert sdlogj(u) == sdlogj(u, "l2r") == folding_percent(u) == 0


def test_a_mirrored_field_folds_everywhere() -> None:
    u = _linear([[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert folding_percent(u) == 100
    assert sdlogj(u) == 0  # all clipped alike: why it is read beside the folding
    assert sdlogj(u, "l2r") == 0


def test_known_determinants() -> None:
    determinants = torch.tensor([1.0, 5.0, 1.0, 5.0], dtype=torch.float64).view(1, 2, 2)
    assert sdlogj_of_determinants([determinants]) == pytest.approx(math.log(5) / 2, rel=1e-14)
    assert sdlogj_of_determinants([determinants], "l2r") == pytest.approx(math.log(2) / 2, rel=1e-14)
    folded = torch.tensor([0.0, -2.0, 1e-12, 3.0], dtype=torch.float64).view(1, 2, 2)
    assert folding_percent_of_determinants([folded]) == 50
    logs = np.log([1e-9, 1e-9, 1e-9, 3.0])
    assert sdlogj_of_determinants([folded]) == pytest.approx(logs.std(), rel=1e-14)


def test_slabs_make_no_difference() -> None:
    determinants = torch.rand(11, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.2
    parts = [determinants[:1], determinants[1:8], determinants[8:]]
    assert sdlogj_of_determinants(parts) == pytest.approx(sdlogj_of_determinants([determinants]), rel=1e-14)
    assert folding_percent_of_determinants(parts) == folding_percent_of_determinants([determinants])


def test_learn2reg_sees_no_folding_where_there_is() -> None:
    u = _rough(0.8)
    determinants = _plain_determinants(u.numpy())
    assert folding_percent(u) > 5
    assert np.mean(np.clip(determinants + 3, 1e-9, 1e9) <= 0) == 0
    assert sdlogj(u, "l2r") < sdlogj(u) / 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_fields_that_are_not_finite_are_refused(value: float) -> None:
    u = _rough(0.1)
    u[1, 6, 6, 6] = value
    for measure in (sdlogj, folding_percent, lambda field: sdlogj(field, "l2r")):
        with pytest.raises(BadValueError, match="NaN or infinite"):
            measure(u)


def test_fields_that_are_too_small_are_refused() -> None:
    for shape in ((4, 9, 9), (9, 9, 4)):
        with pytest.raises(BadValueError, match="5 voxels"):
            sdlogj(torch.zeros(3, *shape))


def test_the_field_is_not_written_to() -> None:
    u = _rough(0.2)
    before = u.clone()
    sdlogj(u)
    folding_percent(u)
    assert torch.equal(u, before)
