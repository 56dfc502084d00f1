"""Registration by masks: each organ's affine motion, from the moments of its two masks, blended to one field.

The voxels of an organ are taken for a Gaussian. The map that carries one Gaussian to another at the least cost is
affine and symmetric (Olkin and Pukelsheim, The distance between two random vectors with given dispersion matrices,
1982), so it has a logarithm: a velocity. The organs' velocities are averaged by the densities of their Gaussians, and
the flow of the average has an inverse (Arsigny et al., A fast and log-Euclidean polyaffine framework, JMIV 2009).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Shaped, UInt8
from pydantic import Field as Limits
from torch import Tensor

from regbench.api import Card, Field, Method, Pair
from regbench.errors import BadValueError
from regbench.losses import lncc_map
from regbench.spatial import integrate, warp

_LARGEST_STRETCH = 3.0
_LARGEST_FALL = 0.2  # of the squared local correlation, which between patients can fall where organs do come together
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Polyaffine(Method):
    """An affine motion for each organ, from its masks; nothing is trained, and intensities only judge the motions.

    Attributes:
        width_mm: how far an organ's motion reaches beyond the organ.
    """

    card: ClassVar[Card] = Card(
        title="Polyaffine",
        summary="Each organ's affine motion from the moments of its masks, blended to one field; no training.",
        citation="""@article{arsigny2009polyaffine,
  author = {Arsigny, Vincent and Commowick, Olivier and Ayache, Nicholas and Pennec, Xavier},
  title = {A Fast and Log-{Euclidean} Polyaffine Framework for Locally Linear Registration},
  journal = {Journal of Mathematical Imaging and Vision}, volume = {33}, pages = {222--238}, year = {2009}
}""",
        origin="Written for regbench: what masks can register, where `ours-plus` starts from.",
        differs=(
            "The organs' affine maps come from their moments, not from a registration; the weights are the organs' "
            "Gaussian densities, and what lies in none of them stays.",
            "An organ stretches or shrinks at most threefold along an axis.",
            "An organ around which the scans' local correlation clearly falls stays where it was: masks can be wrong.",
        ),
    )
    masks: ClassVar[Literal["never", "training", "always"]] = "always"

    width_mm: Annotated[float, Limits(ge=0)] = 10.0

    def skip(self, pair: Pair) -> str | None:
        """Without masks there is nothing to register."""
        return "it needs masks of both scans" if pair.fixed_mask is None or pair.moving_mask is None else None

    def register(self, pair: Pair) -> Field:
        """The field of the two masks."""
        if pair.fixed_mask is None or pair.moving_mask is None:
            raise BadValueError("The method 'polyaffine' needs masks of both scans; name their source: --masks NAME.")
        u = polyaffine(
            pair.fixed.data,
            pair.moving.data,
            pair.fixed_mask.data,
            pair.moving_mask.data,
            pair.setting.labels,
            spacing_mm=pair.setting.spacing_mm,
            width_mm=self.width_mm,
        )
        return Field(u, pair.grid)


def polyaffine(
    fixed: Float[Tensor, "i j k"],
    moving: Float[Tensor, "i j k"],
    fixed_mask: UInt8[Tensor, "i j k"],
    moving_mask: UInt8[Tensor, "i j k"],
    labels: Sequence[int],
    *,
    spacing_mm: tuple[float, float, float],
    width_mm: float = 10.0,
) -> Float[Tensor, "3 i j k"]:
    """The displacement that carries each organ of the fixed mask to the same organ of the moving one.

    Organs that one of the masks lacks are left out. So are those around which the scans are clearly less alike
    afterwards: an organ that is badly segmented in one of them would drag its surroundings along.

    Args:
        fixed: intensities of the fixed scan.
        moving: those of the moving scan.
        fixed_mask: label map.
        moving_mask: label map on the same grid.
        labels: the organs' label numbers.
        spacing_mm: of the grid.
        width_mm: standard deviation that is added to each organ's own, where its motion is weighed.

    Returns:
        A displacement in voxels, whose flow has an inverse.
    """
    points = _points(fixed_mask, spacing_mm)
    squares = (points[:, None] * points).flatten(0, 1)
    organs = [_gaussians(mask, labels, squares, spacing_mm) for mask in (fixed_mask, moving_mask)]
    known = [both for both in zip(*organs, strict=True) if None not in both]
    if not known:
        return torch.zeros(3, *fixed_mask.shape, device=fixed_mask.device)
    forms = torch.stack([_log_density(organ, width_mm) for organ, _ in known]).flatten(1)
    motions = torch.stack([_velocity(organ, there) for organ, there in known]).flatten(1)
    points, squares = points.float(), squares.float()

    def flow(density: Float[Tensor, "organs n"]) -> Float[Tensor, "3 i j k"]:
        velocity = ((motions.T.to(points) @ density).view(3, 4, -1) * points).sum(1)
        # A point is counted into no organ as much as if the organs were strewn over the whole grid.
        velocity /= density.sum(0) + 1 / (math.prod(spacing_mm) * fixed_mask.numel())
        velocity /= torch.tensor(spacing_mm).to(velocity)[:, None]
        return integrate(velocity.view(3, *fixed_mask.shape), beyond="border")

    target, plain = fixed[None, None], moving[None, None]
    with torch.autocast(fixed.device.type, enabled=False):  # exponents in bfloat16 would be off by some units
        density = torch.exp(forms.to(squares) @ squares)
        u = flow(density)
        gain = lncc_map(target, warp(plain, u[None])) - lncc_map(target, plain)
        credible = density @ gain.flatten() > -_LARGEST_FALL * density.sum(1)
        return u if bool(credible.all()) else flow(density * credible[:, None])


def _points(grid: Shaped[Tensor, "i j k"], spacing_mm: tuple[float, float, float]) -> Float[Tensor, "4 n"]:
    """(x, y, z, 1) of every voxel, in millimetres from the middle of the grid."""
    axes = [
        (torch.arange(n, dtype=torch.float64, device=grid.device) - (n - 1) / 2) * spacing
        for n, spacing in zip(grid.shape, spacing_mm, strict=True)
    ]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    return torch.cat([places, torch.ones_like(places[:1])])


@dataclass(frozen=True)
class _Gaussian:
    """Mean in millimetres from the middle of the grid, covariance in square millimetres; on the CPU."""

    mean: Float[Tensor, "3"]
    covariance: Float[Tensor, "3 3"]


def _gaussians(
    mask: UInt8[Tensor, "i j k"],
    labels: Sequence[int],
    squares: Float[Tensor, "16 n"],
    spacing_mm: tuple[float, float, float],
) -> list[_Gaussian | None]:
    """The moments of every organ, whose voxels are boxes; None where it has none."""
    numbers = torch.tensor(labels, dtype=torch.uint8, device=mask.device)
    sums = (mask.flatten() == numbers[:, None]).to(squares) @ squares.T
    box = torch.diag(torch.tensor(spacing_mm, dtype=torch.float64) ** 2 / 12)
    found: list[_Gaussian | None] = []
    for organ in sums.view(-1, 4, 4).cpu():
        moments = organ / organ[3, 3]
        mean = moments[:3, 3]
        found.append(_Gaussian(mean, moments[:3, :3] - mean.outer(mean) + box) if organ[3, 3] else None)
    return found


def _log_density(organ: _Gaussian, width_mm: float) -> Float[Tensor, "4 4"]:
    """The form Q such that xᵀ Q x, with x = (x, y, z, 1), is the logarithm of the widened Gaussian in 1/mm³."""
    wide = organ.covariance + width_mm**2 * torch.eye(3, dtype=torch.float64)
    shift = torch.cat([torch.eye(3, dtype=torch.float64), -organ.mean[:, None]], 1)
    form: Tensor = -0.5 * shift.T @ torch.linalg.inv(wide) @ shift
    form[3, 3] -= 0.5 * torch.logdet(2 * math.pi * wide)
    return form


def _velocity(organ: _Gaussian, there: _Gaussian) -> Float[Tensor, "3 4"]:
    """[L | o] such that the flow of v(x) = L x + o carries the first Gaussian to the second one at time 1."""
    root = _function(organ.covariance, torch.sqrt)
    inverse = torch.linalg.inv(root)
    stretch = inverse @ _function(root @ there.covariance @ root, torch.sqrt) @ inverse
    limit = math.log(_LARGEST_STRETCH)
    rate = _function(stretch, lambda values: values.log().clamp(-limit, limit))
    # Along an eigenvector of L with the eigenvalue λ, o alone moves a point by o·(e^λ − 1)/λ until time 1.
    moved = _function(rate, lambda values: torch.where(values.abs() < _TINY, 1.0, torch.expm1(values) / values))
    offset = torch.linalg.solve(moved, there.mean - _function(rate, torch.exp) @ organ.mean)
    return torch.cat([rate, offset[:, None]], 1)


def _function(
    matrix: Float[Tensor, "3 3"], function: Callable[[Float[Tensor, "3"]], Float[Tensor, "3"]]
) -> Float[Tensor, "3 3"]:
    """A function of a symmetric matrix: of its eigenvalues."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    made: Tensor = vectors @ torch.diag(function(values)) @ vectors.T
    return made
