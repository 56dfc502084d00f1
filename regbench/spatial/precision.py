"""Arithmetic in float32 or better, whatever autocast and half-precision networks hand over."""

from functools import reduce

import torch
from torch import Tensor

HAIR = 1e-6
"""In voxels: what rounding in affines may do to a point on the very rim."""


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the widest of their types, and in float32 where all are narrower (or whole numbers)."""
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(dtype) for tensor in tensors)
