"""Values of official options that cannot be are refused in a sentence that names the option."""

import pytest
import torch

from regbench.errors import BadValueError
from regbench_baselines import transmatch, transmorph, voxelmorph


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (transmorph, {"window_size": 7}),
        (transmorph, {"window_size": (5, 6)}),
        (transmatch, {"window_size": (0, 2, 2)}),
        (transmorph, {"num_heads": (4, 4, 8)}),
        (voxelmorph, {"nb_unet_features": 16}),
        (voxelmorph, {"int_steps": -1}),
        (voxelmorph, {"int_downsize": 0}),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(module, config) -> None:
    with pytest.raises(BadValueError, match=next(iter(config))):
        module.official_network({}, config)


@pytest.mark.parametrize("shape", [(1, 20, 20), (20, 2, 17)])
def test_axes_of_one_or_two_voxels(shape) -> None:
    moving, fixed = torch.rand(2, 1, 1, *shape)
    options = transmorph.VARIANTS["tiny"]
    for network in (transmorph.TransMorphNet(options), transmatch.TransMatchNet(options)):
        assert network(moving, fixed).shape == (1, 3, *shape)
