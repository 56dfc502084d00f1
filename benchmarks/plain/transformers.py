"""The parts of TransMorph and TransMatch: maps upsampled and joined, convolution, normalisation, activation apart."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench_baselines.layers.blocks import FlowHead
from regbench_baselines.layers.conv_units import ConvUnit, JoinedUnit
from regbench_baselines.layers.upsampled_conv import upsample
from regbench_baselines.transmatch import TransMatchNet


class PlainUnit(nn.Module):
    """Convolution, instance normalisation, LeakyReLU; where there are skips, of them beside the upsampled map."""

    def __init__(self, unit: ConvUnit | JoinedUnit) -> None:
        super().__init__()
        self.conv = unit.conv

    def forward(self, features: Tensor, *skips: Tensor, shape: Sequence[int] = ()) -> Tensor:
        if shape:
            features = torch.cat([upsample(features, shape), *skips], 1)
        return F.leaky_relu(F.instance_norm(F.conv3d(features, self.conv.weight, padding=1)), 0.01)


class PlainHead(nn.Module):
    """A convolution; where a shape is asked for, of the upsampled map."""

    def __init__(self, head: FlowHead) -> None:
        super().__init__()
        self.weight, self.bias = head.weight, head.bias

    def forward(self, features: Tensor, shape: Sequence[int] = ()) -> Tensor:
        features = upsample(features, shape) if shape else features
        return F.conv3d(features, self.weight, self.bias, padding=1)


class PlainTransMatch(TransMatchNet):
    """Matches both ways at every level, as the authors' code does."""

    def matched(self, both: Sequence[Tensor]) -> list[Tensor]:
        results = []
        for level, (cross, features) in enumerate(zip(self.cross, both, strict=True)):
            moving, fixed = features.chunk(2)
            one, other = cross(moving, fixed), cross(fixed, moving)
            results.append(one if level == len(both) - 1 else torch.cat([one, other]))
        return results
