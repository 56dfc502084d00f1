"""VoxelMorph, every map upsampled, joined, convolved and activated as it is written in the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench_baselines.layers.blocks import UpsampledConv
from regbench_baselines.voxelmorph import VoxelMorphNet


class PlainVoxelMorph(VoxelMorphNet):
    """The same weights."""

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        x, skips = torch.cat([moving, fixed], 1), []
        for conv in self.encoder:
            skips.append(_convolved(conv, x))
            x = F.max_pool3d(skips[-1], 2)
        for conv in [*self.decoder, *self.remaining]:
            if isinstance(conv, UpsampledConv):
                x = torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1)
            x = _convolved(conv, x)
        return F.conv3d(x, self.flow.weight, self.flow.bias, padding=1)


def _convolved(conv: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(conv, nn.Conv3d)
    return F.leaky_relu(F.conv3d(x, conv.weight, conv.bias, padding=1), 0.2)
