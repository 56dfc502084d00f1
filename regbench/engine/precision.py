"""The precision that networks are trained in."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.engine.plan import Precision

_ROUNDING = 0.02


@cache
def usual_precision(device: torch.device) -> Precision:
    """bfloat16 on a GPU that computes in it, and rightly; float32 elsewhere."""
    if device.type != "cuda":
        return "float32"
    with torch.cuda.device(device):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able and convolves_in_bfloat16(device) else "float32"


def convolves_in_bfloat16(device: torch.device) -> bool:
    """Whether a 3-D convolution in bfloat16 and its gradients are those in float32 but for rounding.

    Of some versions of cuDNN they were not. A device that cannot even compute them says no, too.
    """
    numbers = torch.Generator().manual_seed(0)
    scan, weight = (torch.randn(shape, generator=numbers) for shape in ((1, 16, 12, 14, 16), (32, 16, 3, 3, 3)))

    def convolved(dtype: torch.dtype) -> list[Tensor]:
        x, w = (part.to(device, dtype).requires_grad_() for part in (scan, weight))
        features = F.conv3d(x, w, padding=1)
        return [features, *torch.autograd.grad(features.float().square().sum(), (x, w))]

    try:
        pairs = zip(convolved(torch.bfloat16), convolved(torch.float32), strict=True)
        return all(bool((found - right).norm() <= _ROUNDING * right.norm()) for found, right in pairs)
    except RuntimeError:
        return False
