"""Contours: the distance between an organ's outlines in the two scans, differentiable in the field.

Source: Xu et al., IPMI 2025, section 3.5, equation 7. The text compares points on the contours of the fixed and of the
moved mask and does not say how a moved contour stays differentiable. Here the fixed contour's points x are carried by
the field to y = x + u(x) and compared with the moving contour's points, in the moving scan.
"""

import torch
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree
from torch import Tensor

from regbench.spatial import sample

_CHUNK = 2**24  # distances held at once on a GPU


def contour_points(mask: UInt8[Tensor, "i j k"], labels: tuple[int, ...]) -> dict[int, Float[Tensor, "n 3"]]:
    """The outline of each organ: the middles of the voxel faces that part it from anything else.

    A face on the volume's own border is no outline: what lies beyond it is unknown.

    Args:
        mask: label map.
        labels: the organs' label numbers.

    Returns:
        label → points in voxel indices; an organ without any is left out.
    """
    middles, sides = [], []
    for axis in range(3):
        near, far = mask.narrow(axis, 0, mask.shape[axis] - 1), mask.narrow(axis, 1, mask.shape[axis] - 1)
        faces = (near != far).nonzero()
        sides.append(torch.stack([near[tuple(faces.T)], far[tuple(faces.T)]]))
        middles.append(faces.float())
        middles[-1][:, axis] += 0.5
    numbers = torch.tensor(labels, dtype=mask.dtype, device=mask.device).view(-1, 1, 1)
    outlines = (torch.cat(sides, 1) == numbers).any(1)
    # All organs at once: where a GPU is asked how many points there are, it has to be waited for.
    points = torch.cat(middles)[outlines.nonzero()[:, 1]]
    found = torch.tensor_split(points, outlines.sum(1).cumsum(0)[:-1].cpu())
    return {label: own for label, own in zip(labels, found, strict=True) if len(own)}


def draw(points: Float[Tensor, "n 3"], at_most: int, generator: torch.Generator) -> Float[Tensor, "m 3"]:
    """A sample without replacement; all points where there are no more than that."""
    if len(points) <= at_most:
        return points
    order = torch.randperm(len(points), generator=generator, device=points.device)
    return points[order[:at_most]]


def nearest(points: Float[Tensor, "n 3"], among: Float[Tensor, "m 3"]) -> Int[Tensor, " n"]:
    """The index of each point's nearest neighbour, without a table of n × m distances in memory."""
    points, among = points.detach(), among.detach()
    if points.device.type == "cpu":
        # The tree refuses points that are no numbers; their distances say so, whatever it takes for their neighbours.
        tree, asking = (each.nan_to_num(posinf=0.0, neginf=0.0).numpy() for each in (among, points))
        return torch.from_numpy(cKDTree(tree).query(asking)[1])
    rows = max(1, _CHUNK // len(among))
    return torch.cat([(part[:, None] - among[None]).square().sum(-1).argmin(1) for part in torch.split(points, rows)])


def chamfer(a: Float[Tensor, "n 3"], b: Float[Tensor, "m 3"], reach: float | None = None) -> Float[Tensor, ""]:
    """Equation 7: the mean squared distance to the nearest point of the other set, both ways, summed.

    Args:
        a: points in millimetres (or any other unit; the result is in its square).
        b: points in the same unit.
        reach: in the same unit. A squared distance d² counts as d² / (1 + d² / reach²), almost as it is when short and
            never more than reach² (Geman and McClure, Statistical methods for tomographic image reconstruction, 1987);
            none: as it is.
    """
    there = (a - b[nearest(a, b)]).square().sum(1)
    back = (b - a[nearest(b, a)]).square().sum(1)
    if reach is not None:
        there, back = (square / (1 + square / reach**2) for square in (there, back))
    return there.mean() + back.mean()


def contour_loss(
    fixed_mask: UInt8[Tensor, "i j k"],
    moving_mask: UInt8[Tensor, "i j k"],
    displacement: Float[Tensor, "3 i j k"],
    labels: tuple[int, ...],
    *,
    spacing_mm: tuple[float, float, float],
    unit_mm: float,
    points: int,
    generator: torch.Generator,
    reach_mm: float | None = None,
) -> Float[Tensor, ""]:
    """The mean Chamfer distance over the organs that both masks hold; zero where there is none.

    Args:
        fixed_mask: label map of the fixed scan.
        moving_mask: label map of the moving scan.
        displacement: in voxels; the loss is differentiable in it.
        labels: the organs' label numbers.
        spacing_mm: of the grid.
        unit_mm: distances are squared in this unit, so that the term keeps its size on any grid.
        points: how many contour points to draw from each organ and scan.
        generator: for the draw.
        reach_mm: distances well beyond it count as if they were as long as it: where a mask is wrong, the outlines are
            far apart for no fault of the field. None: they count with their squares, as in the text.
    """
    fixed, moving = contour_points(fixed_mask, labels), contour_points(moving_mask, labels)
    both = [label for label in labels if label in fixed and label in moving]
    if not both:
        return displacement.sum() * 0
    scale = displacement.new_tensor(spacing_mm) / unit_mm
    reach = None if reach_mm is None else reach_mm / unit_mm
    drawn = {label: draw(fixed[label], points, generator).to(displacement.dtype) for label in both}
    together = torch.cat(list(drawn.values()))
    carried = together + sample(displacement[None], together[None])[0].T
    distances = [
        chamfer(y * scale, draw(moving[label], points, generator).to(displacement.dtype) * scale, reach)
        for label, y in zip(both, torch.split(carried, [len(p) for p in drawn.values()]), strict=True)
    ]
    return torch.stack(distances).mean()
