"""Images of two shapes, which torch would stretch over each other, are no images to compare."""

from inspect import unwrap

import pytest
import torch

from regbench.errors import BadValueError
from regbench.losses import lncc, lncc_map, mse, soft_dice


@pytest.mark.parametrize("loss", [lncc, lncc_map, mse, soft_dice])
@pytest.mark.parametrize("shape", [(2, 1, 9, 9, 9), (1, 1, 12, 9, 9), (1, 1, 9, 9, 1)])
def test_two_shapes_are_refused(loss, shape: tuple[int, ...]) -> None:
    as_users_call_it = unwrap(loss)  # in tests, annotations are checked before the first line
    with pytest.raises(BadValueError, match="one shape voxel by voxel"):
        as_users_call_it(torch.rand(1, 1, 9, 9, 9), torch.rand(shape))
