import pytest
import torch

from regbench_methods.network import Design, PrototypeContourNetwork


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 5, 3)])
def test_a_grid_whose_coarsest_map_is_a_single_voxel(batch, shape) -> None:
    network = PrototypeContourNetwork((1, 2), Design(window=(3, 3, 3)))
    scans = torch.rand(2, batch, 1, *shape)
    masks = torch.randint(0, 3, (2, batch, 1, *shape), dtype=torch.uint8)
    field = network(*scans, *masks)
    field.square().sum().backward()
    assert field.shape == (batch, 3, *shape)
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
