"""The losses of our method: tables of all pairs made, and not made; equality first, then the ratios."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from monai.losses import HausdorffDTLoss
from torch import Tensor

from benchmarks.ratio import cost
from regbench.api import Batch, Setting
from regbench.spatial import warp
from regbench_methods.contour import chamfer
from regbench_methods.ours_released import hausdorff
from regbench_methods.prototype import contrast, masked_average_pooling

pytestmark = pytest.mark.usefixtures("one_thread")

POINTS = 10_000
SIDE = 64
CLASSES, CHANNELS, VOXELS = 13, 16, 48**3


def plain_chamfer(a: Tensor, b: Tensor) -> Tensor:
    """All n × m distances, differentiated; `cdist` without the matrix product, whose gradient is off by a hundredth."""
    squared = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squared.amin(1).mean() + squared.amin(0).mean()


def plain_contrast(features: Tensor, members: Tensor) -> Tensor:
    """Prototypes and their cosines as voxels × classes × channels."""
    spread = members.T[:, :, None] * features.T[:, None]
    prototypes = spread.sum(0) / members.sum(1)[:, None]
    logits = F.cosine_similarity(features.T[:, None], prototypes[None], dim=2).T
    surprise = torch.logsumexp(logits, 0) - logits
    return ((members * surprise).sum(1) / members.sum(1)).mean()


def fast_contrast(features: Tensor, members: Tensor) -> Tensor:
    return contrast(features, members, masked_average_pooling(features, members))


def _compare(
    name: str, plain: Callable[[Tensor], Tensor], fast: Callable[[Tensor], Tensor], at: Tensor, most: float = 0.5
) -> float:
    """Asserts that values and gradients are equal, and that the fast one's peak is below this share of the other's.

    Returns:
        How many times less CPU time the fast one takes.
    """

    def differentiated(loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        place = at.clone().requires_grad_()
        value = loss(place)
        return value.detach(), torch.autograd.grad(value, place)[0]

    theirs, ours = differentiated(plain), differentiated(fast)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=0)
    assert (ours[1] - theirs[1]).norm() < 1e-4 * theirs[1].norm()
    (slow, table), (quick, held) = (cost(lambda loss=loss: differentiated(loss)) for loss in (plain, fast))
    print(  # noqa: T201
        f"\n{name}: {slow / quick:.2f}x CPU time ({1e3 * slow:.0f} ms plain, {1e3 * quick:.0f} ms ours); "
        f"peak {table / 2**20:.0f} MiB plain, {held / 2**20:.0f} MiB ours"
    )
    assert held < most * table
    return slow / quick


def test_chamfer() -> None:
    """Two outlines of a bent sphere, each with its own points, a few voxels apart."""
    random = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(2, POINTS, 3, generator=random), dim=2)
    radius = 40 + 5 * torch.sin(5 * directions[..., :1]) * torch.cos(4 * directions[..., 1:2])
    fixed, moving = directions * radius
    moving = moving + torch.tensor([2.0, -1.0, 3.0])
    times = _compare(
        f"Chamfer, {POINTS} × {POINTS} points",
        lambda y: plain_chamfer(y, moving),
        lambda y: chamfer(y, moving),
        fixed,
    )
    assert times >= 10


def test_contrast() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(CHANNELS, VOXELS, generator=random)
    members = F.one_hot(torch.randint(CLASSES, (VOXELS,), generator=random), CLASSES).T.float()
    features += torch.randn(CHANNELS, CLASSES, generator=random) @ members
    times = _compare(
        f"prototype contrast, {VOXELS} voxels × {CLASSES} classes × {CHANNELS} channels",
        lambda x: plain_contrast(x, members),
        lambda x: fast_contrast(x, members),
        features,
    )
    assert times >= 4


def test_contour_loss_of_the_release() -> None:
    """Distance transforms of whole volumes, and of the boxes that hold anything: twelve balls, five voxels off."""
    axis = torch.arange(SIDE)
    masks = torch.zeros(2, 1, 1, SIDE, SIDE, SIDE, dtype=torch.uint8)
    for number in range(12):
        i, j, k = (torch.tensor([number // 4, number // 2 % 2, number % 2]) * 20 + 12).tolist()
        squares = (axis[:, None, None] - i).square() + (axis[:, None] - j).square() + (axis - k).square()
        masks[0, 0, 0][squares < 64] = number + 2
    masks[1] = masks[0].roll((3, 0, 4), (2, 3, 4))
    scans = torch.zeros(1, 1, SIDE, SIDE, SIDE)
    labels = tuple(range(1, 14))
    batch = Batch(scans, scans, masks[0], masks[1], Setting((SIDE,) * 3, (1.0,) * 3, labels))
    fixed, moving = ((mask == torch.tensor(labels[1:]).view(1, -1, 1, 1, 1)).float() for mask in masks)
    times = _compare(
        f"contour loss of the release, 12 organs of {SIDE}³",
        lambda u: HausdorffDTLoss(alpha=2.0, include_background=True)(warp(moving, u), fixed),
        lambda u: hausdorff(u, batch),
        torch.randn(1, 3, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
        most=0.9,
    )
    assert times >= 2
