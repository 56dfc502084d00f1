import numpy as np
import torch

from regbench.api import Field, Grid
from regbench.spatial import faded, jacobian_determinant, resample_displacement
from regbench.spatial.continuation import FADING

SMALL, WIDE = (Grid.centred((n, n, n), (2.0, 2.0, 3.0)) for n in (12, 44))
INSIDE = (slice(None), *(slice(16, 28),) * 3)


def rough(amplitude: float = 1.0) -> Field:
    noise = torch.randn(1, 3, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    return Field(amplitude * torch.nn.functional.avg_pool3d(noise, 3, stride=1, padding=1)[0], SMALL)


def test_on_its_own_grid_nothing_changes() -> None:
    field = rough()
    torch.testing.assert_close(resample_displacement(field, WIDE).displacement[INSIDE], field.displacement)


def test_a_grid_that_is_covered_needs_no_continuation() -> None:
    field = rough()
    assert faded(field, SMALL) is field
    finer = Grid((24, 24, 24), SMALL.affine @ np.diag([0.5, 0.5, 0.5, 1.0]) + _shifted(-0.25))
    assert faded(field, finer) is field
    assert faded(Field(torch.zeros(3, 12, 12, 12), SMALL), WIDE).grid is SMALL


def _shifted(voxels: float) -> np.ndarray:
    move = np.zeros((4, 4))
    move[:3, 3] = SMALL.affine[:3, :3] @ np.full(3, voxels)
    return move


def test_far_from_its_grid_a_displacement_is_zero() -> None:
    whole = resample_displacement(rough(), WIDE).displacement
    border = rough().displacement
    longest_mm = (border * torch.tensor([2.0, 2.0, 3.0]).view(3, 1, 1, 1)).norm(dim=0).max()
    beyond = 2.0 * torch.clamp((torch.arange(44) - 21.5).abs() - 5.5, min=0)
    assert whole[:, beyond >= FADING * longest_mm].eq(0).all()
    assert whole[:, 15, 16:28, 16:28].abs().max() > 0.05  # but not at once


def test_a_field_without_folds_gets_none_beyond_its_grid() -> None:
    """Nor is its pattern drawn out into bands: at three voxels from the border little of it is left."""
    whole = resample_displacement(rough(1.5), WIDE).displacement
    determinant = jacobian_determinant(whole)
    inner = determinant[14:26, 14:26, 14:26]
    outer = determinant.clone()
    outer[14:26, 14:26, 14:26] = 1
    assert inner.min() > 0
    assert outer.min() > 0
    spread = (outer - 1).abs()
    assert spread[:11].max() < 0.5 * (inner - 1).abs().max()


def test_one_displacement_for_all_fades_without_folding() -> None:
    field = Field(torch.full((3, 12, 12, 12), 3.0), SMALL)
    assert jacobian_determinant(resample_displacement(field, WIDE).displacement).min() > 0.3


def test_half_precision_and_autocast_are_carried_in_float32() -> None:
    half = Field(rough().displacement.half(), SMALL)
    assert resample_displacement(half, WIDE).displacement.dtype == torch.float32
