"""Losses with their gradients: the plain formulations beside ours, equality first, then times as ratios."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import Tensor

from benchmarks.plain import objective as plain
from benchmarks.ratio import peak_bytes, ratio
from regbench.losses import gradient_penalty, lncc, warped_dice
from regbench.spatial import warp

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = tuple(range(1, 13))


def exact_lncc(fixed: Tensor, moved: Tensor) -> Tensor:
    """The same in float64, one axis after the other."""

    def box(volume: Tensor) -> Tensor:
        for axis in (2, 3, 4):
            padding = [4 if pair == 4 - axis else 0 for pair in range(3) for _ in range(2)]
            volume = F.pad(volume, padding).unfold(axis, 9, 1).sum(-1)
        return volume

    a, b = fixed.double(), moved.double()
    cross = box(a * b) - box(a) * box(b) / 729
    variances = (box(x * x) - box(x) ** 2 / 729 for x in (a, b))
    variance_a, variance_b = (variance.clamp(min=0) for variance in variances)
    return -(cross * cross / (variance_a * variance_b + 1e-5)).mean()


def _smooth(seed: int, channels: int, size: int) -> Tensor:
    noise = torch.randn(1, channels, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size,) * 3, mode="trilinear", align_corners=True)


def _images(size: int) -> tuple[Tensor, Tensor]:
    """A textured pair in [0, 1] with a background of 0."""
    generator = torch.Generator().manual_seed(0)
    fixed, moving = (
        (_smooth(seed, 1, size) * 0.2 + 0.5 + 0.05 * torch.rand(1, 1, size, size, size, generator=generator)).clamp(
            0, 1
        )
        for seed in (0, 1)
    )
    place = torch.linspace(-1, 1, size)
    body = (place.view(-1, 1, 1) ** 2 + place.view(-1, 1) ** 2 + place**2 < 0.8).float()
    return fixed.clamp(0, 1) * body, (0.7 * fixed + 0.3 * moving).clamp(0, 1) * body


def _organs(size: int) -> Tensor:
    """Twelve ellipsoids in a tenth of the volume."""
    random = torch.Generator().manual_seed(1)
    place = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size)] * 3, indexing="ij"))
    mask = torch.zeros(size, size, size, dtype=torch.uint8)
    for label in LABELS:
        centre = torch.rand(3, 1, 1, 1, generator=random) * 1.3 - 0.65
        radius = 0.15 + 0.2 * torch.rand(3, 1, 1, 1, generator=random)
        mask[(((place - centre) / radius) ** 2).sum(0) < 1] = label
    return mask[None, None]


def _with_gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    at = at.clone().requires_grad_()
    value = loss(at)
    value.backward()
    assert at.grad is not None
    return value.detach(), at.grad


def _far(ours: Tensor, reference: Tensor) -> float:
    return float((ours.double() - reference.double()).norm() / reference.double().norm())


def test_lncc_against_five_convolutions() -> None:
    fixed, moved = _images(96)
    slow, fast, exact = (
        _with_gradient(lambda image, loss=loss: loss(fixed, image), moved) for loss in (plain.lncc, lncc, exact_lncc)
    )
    assert abs(float(fast[0] - exact[0])) < 1e-6
    assert abs(float(slow[0] - exact[0])) < 1e-4
    result = ratio(
        lambda: _with_gradient(lambda image: plain.lncc(fixed, image), moved),
        lambda: _with_gradient(lambda image: lncc(fixed, image), moved),
        repeats=1,
        warmup=0,
    )
    errors = _far(fast[1], exact[1]), _far(slow[1], exact[1])
    print(f"\nLNCC 9³ of 96³ over five convolutions: {result}; gradient off by {errors[0]:.0e}, plain {errors[1]:.0e}")  # noqa: T201
    assert errors[0] < 1e-4
    assert result.cpu >= 25


@pytest.mark.parametrize("size", [96, 160])
def test_lncc_against_monai(size: int) -> None:
    fixed, moved = _images(size)
    monai = LocalNormalizedCrossCorrelationLoss(kernel_size=9)
    calls = (
        lambda: _with_gradient(lambda image: monai(image, fixed), moved),
        lambda: _with_gradient(lambda image: lncc(fixed, image), moved),
    )
    result = ratio(*calls, repeats=3)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\nLNCC 9³ of {size}³ over MONAI's: {result}; peak {memory[0]:.0f} MiB, ours {memory[1]:.0f} MiB")  # noqa: T201
    assert result.cpu >= 2.5
    assert memory[1] < memory[0] / 4


@pytest.mark.parametrize("name", ["in [0, 1]", "z-scored", "saturated slab", "z-scored saturated slab"])
def test_flow_gradient_of_lncc(name: str) -> None:
    size = 96
    fixed, moving = _images(size)
    if "slab" in name:
        fixed[:, :, 30:60] = moving[:, :, 34:64] = 1
    if "z-scored" in name:
        fixed, moving = ((image - image.mean()) / image.std() for image in (fixed, moving))
    u = 1.5 * _smooth(2, 3, size)
    exact = _with_gradient(lambda v: exact_lncc(fixed, warp(moving.double(), v)), u.double())[1]
    ours = _with_gradient(lambda v: lncc(fixed, warp(moving, v)), u)[1]
    print(f"\nflow gradient of LNCC, {name}: off by {_far(ours, exact):.1e}")  # noqa: T201
    assert _far(ours, exact) <= 1e-2


@pytest.mark.parametrize("size", [96, 160])
def test_gradient_penalty(size: int) -> None:
    u = 2 * _smooth(0, 3, size)
    slow, fast = (_with_gradient(loss, u) for loss in (plain.gradient_penalty, gradient_penalty))
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    assert _far(fast[1], slow[1]) < 1e-5
    calls = lambda: _with_gradient(plain.gradient_penalty, u), lambda: _with_gradient(gradient_penalty, u)
    result = ratio(*calls, repeats=7)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    print(f"\ngradient penalty of {size}³: {result}; peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast")  # noqa: T201
    assert result.cpu >= (4 if size == 160 else 2.5)
    assert memory[1] < memory[0] / 2


@pytest.mark.parametrize("size", [96, 160])
def test_dice_of_twelve_warped_classes(size: int) -> None:
    fixed = _organs(size)
    moving, u = torch.roll(fixed, (3, 2, -2), (2, 3, 4)), 2 * _smooth(0, 3, size)
    losses = lambda v: plain.dice(fixed, moving, v), lambda v: warped_dice(fixed, moving, v, LABELS)
    slow, fast = (_with_gradient(loss, u) for loss in losses)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-5, atol=0)
    # The plain way rounds indices; where that takes a point over a voxel's border it has the other side's slope.
    assert _far(fast[1], slow[1]) < 1e-2
    if size == 96:
        exact = [_with_gradient(loss, u.double())[1] for loss in losses]
        assert _far(exact[1], exact[0]) < 1e-9
    calls = lambda: _with_gradient(losses[0], u), lambda: _with_gradient(losses[1], u)
    result = ratio(*calls, repeats=3)
    memory = [peak_bytes(call) / 2**20 for call in calls]
    share = float((fixed > 0).float().mean())
    print(  # noqa: T201
        f"\nDice of 12 warped classes in {share:.0%} of {size}³: {result}; "
        f"peak {memory[0]:.0f} MiB plain, {memory[1]:.0f} MiB fast"
    )
    assert result.cpu >= 12
    assert memory[1] <= memory[0] / 4
