"""Pulling images and label maps back through a displacement field."""

from typing import Any, Literal

from jaxtyping import Float, Num, UInt8
from torch import Tensor

from regbench.errors import BadValueError
from regbench.spatial.gridsample import GridSample
from regbench.spatial.nearest import nearest
from regbench.spatial.precision import at_least_float32
from regbench.spatial.trilinear import Trilinear

Mode = Literal["linear", "nearest"]


def warp(
    image: Num[Tensor, "b c i j k"], u: Float[Tensor, "b 3 x y z"], mode: Mode = "linear"
) -> Num[Tensor, "b c x y z"]:
    """The image pulled back through a displacement: out(x) = image(x + u(x)), zero outside.

    Args:
        image: (b, c, i, j, k).
        u: (b, 3, x, y, z) displacement in voxels; the output lies on its grid.
        mode: "linear" interpolates between the eight neighbours, those outside the image counting as zero, and is
            differentiable in the image and in u; "nearest" takes the nearest voxel where x + u(x) lies within the
            outermost voxel centres of the image, keeps the image's type, and has no gradient.

    Raises:
        BadValueError: for another mode.
    """
    if mode == "linear":
        return interpolate(image, u, relative=True)
    if mode == "nearest":
        return nearest(image.detach(), u.detach())
    raise BadValueError(f"An image is warped with mode 'linear' or 'nearest', not {mode!r}.")


def warp_labels(labels: UInt8[Tensor, "i j k"], u: Float[Tensor, "3 x y z"]) -> UInt8[Tensor, "x y z"]:
    """A label map pulled back by the nearest voxel, exactly as `scipy.ndimage.map_coordinates(order=0)` in float64.

    Args:
        labels: (i, j, k).
        u: (3, x, y, z) displacement in voxels. A point outside the outermost voxel centres of the labels becomes 0.
    """
    return warp(labels[None, None], u[None], "nearest")[0, 0]


def sample(image: Num[Tensor, "b c i j k"], points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b c n"]:
    """Trilinear values of an image at points; voxels outside count as zero. Differentiable in both.

    Args:
        image: (b, c, i, j, k).
        points: (b, n, 3) voxel indices, fractions allowed.
    """
    return interpolate(image, points.transpose(1, 2)[..., None, None], relative=False).flatten(2)


def interpolate(image: Tensor, field: Tensor, *, relative: bool) -> Tensor:
    """Trilinear values of an image (b, c, i, j, k) at x + field(x) if relative, else at field(x); zero outside.

    Args:
        image: (b, c, i, j, k).
        field: (b, 3, x, y, z) in voxels of the image.
        relative: whether the field is a displacement.
    """
    image, field = at_least_float32(image, field)
    # torch's own sampler walks through a volume point by point on a CPU; on a GPU it is hard to beat
    sampler: Any = Trilinear if field.device.type == "cpu" else GridSample
    interpolated: Tensor = sampler.apply(image, field, relative)
    return interpolated
