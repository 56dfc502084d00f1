"""Warping: the formulation that registration repositories share beside ours, equality first, then times as ratios."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from benchmarks.plain.objective import warp as plain_warp
from benchmarks.ratio import peak_bytes, ratio
from regbench.spatial import integrate, warp, warp_labels

pytestmark = pytest.mark.usefixtures("one_thread")


def _smooth(seed: int, channels: int, size: int) -> Tensor:
    noise = torch.randn(1, channels, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size,) * 3, mode="trilinear", align_corners=True)


def _field_gradient(warping: Callable[[Tensor, Tensor], Tensor], image: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    u = u.clone().requires_grad_()
    warped = warping(image, u)
    warped.backward(image)
    assert u.grad is not None
    return warped.detach(), u.grad


@pytest.mark.parametrize("size", [96, 160])
def test_warp_with_a_gradient_for_the_field(size: int) -> None:
    image, u = _smooth(0, 1, size), 2 * _smooth(1, 3, size)
    plain, fast = (_field_gradient(warping, image, u) for warping in (plain_warp, warp))
    torch.testing.assert_close(fast[0], plain[0], rtol=0, atol=1e-4)
    # The plain way rounds indices; where that takes a point over a voxel's border it has the other side's slope.
    assert (fast[1] - plain[1]).norm() < 1e-2 * plain[1].norm()
    exact = _field_gradient(warp, image.double(), u.double())[1]
    assert (fast[1] - exact).norm() < 1e-5 * exact.norm()
    calls = lambda: _field_gradient(plain_warp, image, u), lambda: _field_gradient(warp, image, u)
    result = ratio(*calls, repeats=7)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\nwarp of {size}³: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201
    assert result.cpu >= 1.8
    assert memory[1] < memory[0] / 2


def test_integration_is_no_slower() -> None:
    velocity = _smooth(1, 3, 80)

    def plain(velocity: Tensor) -> Tensor:
        u = velocity / 2**7
        for _ in range(7):
            u = u + plain_warp(u, u)
        return u

    def with_gradient(integration: Callable[[Tensor], Tensor]) -> Tensor:
        start = velocity.clone().requires_grad_()
        u = integration(start)
        u.sum().backward()
        return u.detach()

    torch.testing.assert_close(with_gradient(integrate), with_gradient(plain), rtol=0, atol=1e-4)
    calls = lambda: with_gradient(plain), lambda: with_gradient(integrate)
    result = ratio(*calls, repeats=3)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\nscaling and squaring of 80³: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201
    assert result.cpu > 0.8
    assert memory[1] < memory[0]


def test_label_warp() -> None:
    size = 160
    u = 3 * _smooth(1, 3, size)[0]
    labels = (5 * _smooth(2, 1, size)[0, 0].abs()).to(torch.uint8)

    def plain() -> np.ndarray:
        identity = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"))
        return ndimage.map_coordinates(labels.numpy(), identity + u.numpy().astype(np.float64), order=0)

    assert np.array_equal(warp_labels(labels, u).numpy(), plain())
    result = ratio(plain, lambda: warp_labels(labels, u))
    print(f"\nlabel warp of 160³: {result}")  # noqa: T201
    assert result.cpu >= 1.8
