"""Prototypes against plain loops in numpy, and at the edges."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regbench_methods.prototype import Prototypes, align, contrast, masked_average_pooling, membership, prototype_loss

LABELS = (1, 2, 5)
SHAPE = (6, 5, 7)


@pytest.fixture
def mask() -> Tensor:
    values = torch.tensor([0, *LABELS], dtype=torch.uint8)
    return values[torch.randint(0, 4, SHAPE, generator=torch.Generator().manual_seed(1))]


@pytest.fixture
def features() -> Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def reference(features: np.ndarray, mask: np.ndarray, temperature: float, balanced: bool) -> tuple[np.ndarray, float]:
    """Equations 3 and 4, voxel by voxel."""
    classes = [0, *LABELS]
    prototypes = np.stack([features[:, mask == label].mean(1) for label in classes])
    surprises: dict[int, list[float]] = {label: [] for label in classes}
    for index in np.ndindex(mask.shape):
        feature = features[(slice(None), *index)]
        cosines = np.array([feature @ p / np.linalg.norm(feature) / np.linalg.norm(p) for p in prototypes])
        weights = np.exp(cosines / temperature)
        surprises[mask[index]].append(-np.log(weights[classes.index(mask[index])] / weights.sum()))
    if balanced:
        return prototypes, float(np.mean([np.mean(s) for s in surprises.values()]))
    return prototypes, float(np.mean(np.concatenate(list(surprises.values()))))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("balanced", [True, False])
def test_equations_3_and_4(features: Tensor, mask: Tensor, temperature: float, balanced: bool) -> None:
    members = membership(mask, LABELS, SHAPE).double()
    found = masked_average_pooling(features.flatten(1), members)
    value = contrast(features.flatten(1), members, found, temperature=temperature, balanced=balanced)
    vectors, expected = reference(features.numpy(), mask.numpy(), temperature, balanced)
    np.testing.assert_allclose(found.vectors.numpy(), vectors, rtol=1e-12)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_equation_5_counts_only_classes_present_in_both() -> None:
    fixed = Prototypes(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), torch.tensor([True, True, False]))
    moving = Prototypes(torch.tensor([[0.0, 3.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([True, True, True]))
    assert align(fixed, moving).item() == pytest.approx(1.0)


def test_a_coarse_voxel_belongs_to_a_class_by_its_share() -> None:
    mask = torch.zeros(4, 4, 4, dtype=torch.uint8)
    mask[0, 0, 0] = 5
    members = membership(mask, LABELS, (2, 2, 2))
    assert members[3, 0].item() == pytest.approx(1 / 8)
    torch.testing.assert_close(members.sum(0), torch.ones(8))


def test_gradients(features: Tensor, mask: Tensor) -> None:
    small, labels = features[:, :3, :3, :3].clone().requires_grad_(), mask[:3, :3, :3]
    other = features[:, 3:6, 1:4, 2:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, m: prototype_loss(f, m, labels, labels.flip(0), LABELS, temperature=0.5), (small, other)
    )


@pytest.mark.parametrize("present", [(), (1,), (1, 2)])
def test_absent_organs_leave_finite_values_and_gradients(features: Tensor, present: tuple[int, ...]) -> None:
    fixed_mask, moving_mask = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    for label in present:
        fixed_mask[label, label, label] = label
    moving_mask[0] = 1
    leaf = features.clone().requires_grad_()
    loss = prototype_loss(leaf, features.flip(1), fixed_mask, moving_mask, LABELS)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad.abs().sum() > 0) == bool(present)


def test_features_that_say_the_organ_have_less_contrast_loss_than_noise(mask: Tensor) -> None:
    members = membership(mask, LABELS, SHAPE)
    telling = members.clone()
    noise = torch.randn(4, members.shape[1], generator=torch.Generator().manual_seed(3))
    losses = [contrast(f, members, masked_average_pooling(f, members)).item() for f in (telling, noise)]
    assert losses[0] < losses[1]
