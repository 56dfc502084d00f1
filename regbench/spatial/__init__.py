"""Pure functions on grids: warp, compose, integrate, invert, resample, and the Jacobian determinant.

Tensors on any device; float32 or float64 in, the same out; never less than float32, whatever autocast says.
"""

from regbench.spatial.continuation import faded
from regbench.spatial.fields import compose, integrate, invert, resize_displacement
from regbench.spatial.jacobian import jacobian_determinant
from regbench.spatial.resampling import resample, resample_displacement
from regbench.spatial.warping import sample, warp, warp_labels

__all__ = [
    "compose",
    "faded",
    "integrate",
    "invert",
    "jacobian_determinant",
    "resample",
    "resample_displacement",
    "resize_displacement",
    "sample",
    "warp",
    "warp_labels",
]
