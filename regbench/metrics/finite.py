"""Fields that hold NaN or infinite displacements are refused, not scored."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from regbench.errors import BadValueError


def require_finite(*fields: Float[Tensor, "..."]) -> None:
    """Refuse fields, or determinants of fields, that are not finite.

    Raises:
        BadValueError: if one of them holds NaN or an infinite number.
    """
    # One sum is many times faster than a look at every element, and cannot overflow in float64.
    if not all(math.isfinite(float(field.sum(dtype=torch.float64))) for field in fields):
        raise BadValueError(
            "A field is measured only if its displacements are finite numbers; this one holds NaN or infinite ones. "
            "Look at the registration that made it."
        )
