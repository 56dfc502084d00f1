"""The network of the prototype and contour method: two streams, image and mask, joined by attention at four scales.

Source: Xu et al., IPMI 2025, figures 1 and 2, section 3.2. The text's network is built; what its authors released runs
no attention and is a method of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from regbench.api import Shape
from regbench.spatial import compose, resize_displacement, warp
from regbench_baselines.layers.blocks import Conv3, FlowHead, crop_to, instance_norm, pad_to_multiple, recomputed
from regbench_baselines.layers.correlation import COUNT, correlation
from regbench_baselines.layers.window_attention import WindowAttention

LEVELS = 4


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the text leaves open, and what it fixes by an example.

    Attributes:
        channels: of the encoders, from the finest level to the coarsest.
        window: sides of the attention windows in voxels of each level.
        head_size: channels of an attention head, at least; one head where a level has fewer.
        position_bias: attention learns a number for each relative position, as the Swin blocks that the text names.
        mlp_ratio: width of the MLPs over that of their level.
        shared_encoders: moving and fixed scans go through the same encoder, and so do their masks.
        one_hot: masks enter with a channel for each organ; otherwise as one channel that holds the label's number.
        composition: a level's field is composed with the coarser one; otherwise added to it.
        finest: the finest level that has attention and a field of its own: 1 is full resolution, as the text has it; at
            2 the field of half the resolution is upsampled.
        checkpointing: recompute activations in the backward pass.
        correlation: a level's field is made of the local correlation of both streams as well; not in the text.
    """

    channels: tuple[int, int, int, int] = (8, 16, 32, 64)
    window: Shape = (5, 5, 5)
    head_size: int = 16
    position_bias: bool = True
    mlp_ratio: int = 4
    shared_encoders: bool = True
    one_hot: bool = True
    composition: bool = False
    finest: int = 1
    checkpointing: bool = False
    correlation: bool = False


@dataclass(frozen=True)
class Registered:
    """A pass of the network.

    Attributes:
        displacement: (b, 3, i, j, k) in voxels.
        fixed: image features of the fixed scan, from the finest level to the coarsest.
        moving: image features of the moving scan, not warped.
    """

    displacement: Float[Tensor, "b 3 i j k"]
    fixed: Sequence[Float[Tensor, "b _ _ _ _"]]
    moving: Sequence[Float[Tensor, "b _ _ _ _"]]


class Encoder(nn.Module):
    """Four scales of convolutions, each half the size of the one before."""

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_convolutions(a, b) for a, b in zip((inputs, *channels), channels, strict=False))
        # Tokens are read channel by channel of a voxel, and so are few channels in a convolution at their fastest.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, x: Float[Tensor, "b c i j k"]) -> list[Float[Tensor, "b _ _ _ _"]]:
        """The features, from the finest level to the coarsest."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        features = []
        for number, level in enumerate(self.levels):
            x = level(x if number == 0 else F.avg_pool3d(x, 2).contiguous(memory_format=torch.channels_last_3d))
            features.append(x)
        return features


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Conv3(inputs, outputs),
        nn.LeakyReLU(0.2),
        _InstanceNorm(),
        Conv3(outputs, outputs),
        nn.LeakyReLU(0.2),
        _InstanceNorm(),
    )


class _InstanceNorm(nn.Module):
    """Torch's instance norm copies what lies channels last; its batch norm, the same for a batch of one, does not."""

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
        alone = len(x) == 1 and x[0, 0].numel() > 1
        return F.batch_norm(x, None, None, training=True) if alone else instance_norm(x)


class CrossBlock(nn.Module):
    """Windowed cross-attention, MLP, the same with shifted windows, MLP. The first argument asks (equation 2)."""

    def __init__(self, channels: int, design: Design) -> None:
        super().__init__()
        heads = max(1, channels // design.head_size)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.attentions = nn.ModuleList(
            WindowAttention(
                channels,
                heads,
                design.window,
                shifted=shifted,
                position_bias=design.position_bias,
                queries_from="stream",
            )
            for shifted in (False, True)
        )
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, design.mlp_ratio * channels),
                nn.GELU(),
                nn.Linear(design.mlp_ratio * channels, channels),
            )
            for _ in range(2)
        )

    def forward(
        self, query: Float[Tensor, "b i j k c"], context: Float[Tensor, "b i j k c"]
    ) -> Float[Tensor, "b i j k c"]:
        """`query` with what it takes up from `context`."""
        for norm, attention, mlp in zip(self.norms, self.attentions, self.mlps, strict=True):
            query = query + attention(norm(query), norm(context))
            query = query + mlp(query)
        return query


class Level(nn.Module):
    """One scale: attention across the scans in either stream, fusion of the streams, and a field."""

    def __init__(self, channels: int, design: Design) -> None:
        super().__init__()
        self.images, self.masks, self.fusion = (CrossBlock(channels, design) for _ in range(3))
        self.match = Match(channels) if design.correlation else None
        self.head = FlowHead(channels)
        self.checkpointing = design.checkpointing

    def forward(
        self,
        moving: Float[Tensor, "b c i j k"],
        fixed: Float[Tensor, "b c i j k"],
        moving_mask: Float[Tensor, "b c i j k"],
        fixed_mask: Float[Tensor, "b c i j k"],
    ) -> Float[Tensor, "b 3 i j k"]:
        """The level's own displacement, in its voxels."""
        parts = [x.movedim(1, -1) for x in (moving, fixed, moving_mask, fixed_mask)]
        image = recomputed(self.checkpointing, self.images, parts[0], parts[1])
        mask = recomputed(self.checkpointing, self.masks, parts[2], parts[3])
        fused = recomputed(self.checkpointing, self.fusion, image, mask)
        fused = (fused + recomputed(self.checkpointing, self.fusion, mask, image)) / 2
        features = fused.movedim(-1, 1)
        if self.match is not None:
            features = recomputed(self.checkpointing, self.match, features, moving, fixed, moving_mask, fixed_mask)
        field: Float[Tensor, "b 3 i j k"] = self.head(features)
        return field


class Match(nn.Module):
    """What attention without positions cannot say: where in the neighbourhood the other scan looks alike.

    The local correlation of both streams (27 offsets each) joins the fused features through two convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.first, self.second = Conv3(channels + 2 * COUNT, channels), Conv3(channels, channels)

    def forward(
        self,
        fused: Float[Tensor, "b c i j k"],
        moving: Float[Tensor, "b c i j k"],
        fixed: Float[Tensor, "b c i j k"],
        moving_mask: Float[Tensor, "b c i j k"],
        fixed_mask: Float[Tensor, "b c i j k"],
    ) -> Float[Tensor, "b c i j k"]:
        """The features that the field is made of."""
        alike = [correlation(fixed, moving), correlation(fixed_mask, moving_mask)]
        x = self.first(torch.cat([self.norm(fused), *alike], 1))
        result: Tensor = self.second(F.leaky_relu(x, 0.2))
        return F.leaky_relu(result, 0.2)


class PrototypeContourNetwork(nn.Module):
    """Scans and masks to a displacement, coarse to fine."""

    labels: UInt8[Tensor, " n"]

    def __init__(self, labels: Sequence[int], design: Design) -> None:
        """A network whose field starts near zero.

        Args:
            labels: the label numbers that masks may hold.
            design: its layout.
        """
        super().__init__()
        self.design = design
        self.register_buffer("labels", torch.tensor(labels, dtype=torch.uint8), persistent=False)
        organs = len(labels) if design.one_hot else 1
        copies = 1 if design.shared_encoders else 2
        self.image_encoders = nn.ModuleList(Encoder(1, design.channels) for _ in range(copies))
        self.mask_encoders = nn.ModuleList(Encoder(organs, design.channels) for _ in range(copies))
        self.levels = nn.ModuleList(Level(channels, design) for channels in design.channels[design.finest - 1 :])

    def forward(
        self,
        moving: Float[Tensor, "b 1 i j k"],
        fixed: Float[Tensor, "b 1 i j k"],
        moving_mask: UInt8[Tensor, "b 1 i j k"],
        fixed_mask: UInt8[Tensor, "b 1 i j k"],
    ) -> Float[Tensor, "b 3 i j k"]:
        """The displacement in voxels at full resolution."""
        return self.registered(moving, fixed, moving_mask, fixed_mask).displacement

    def registered(
        self,
        moving: Float[Tensor, "b 1 i j k"],
        fixed: Float[Tensor, "b 1 i j k"],
        moving_mask: UInt8[Tensor, "b 1 i j k"],
        fixed_mask: UInt8[Tensor, "b 1 i j k"],
        start: Float[Tensor, "b 3 i j k"] | None = None,
    ) -> Registered:
        """The displacement, and the features that the prototypes are made of.

        Args:
            moving: the moving scan.
            fixed: the fixed scan.
            moving_mask: label map.
            fixed_mask: label map.
            start: a displacement in voxels that the network adds to; none: zero.
        """
        shape = moving.shape[2:]
        images = self._encode(self.image_encoders, moving, fixed)
        masks = self._encode(self.mask_encoders, *(self._channels(x, moving.dtype) for x in (moving_mask, fixed_mask)))
        padded = None if start is None else pad_to_multiple(start, 2 ** (LEVELS - 1))
        displacement = crop_to(self._coarse_to_fine(images, masks, padded), shape)
        return Registered(displacement if start is None else start + displacement, *(images[1], images[0]))

    def _channels(self, mask: UInt8[Tensor, "b 1 i j k"], dtype: torch.dtype) -> Float[Tensor, "b n i j k"]:
        if not self.design.one_hot:
            return mask.to(dtype)
        return (mask == self.labels[:, None, None, None]).to(dtype)

    def _encode(
        self, encoders: nn.ModuleList, moving: Float[Tensor, "b n i j k"], fixed: Float[Tensor, "b n i j k"]
    ) -> tuple[list[Tensor], list[Tensor]]:
        moving, fixed = (pad_to_multiple(x, 2 ** (LEVELS - 1)) for x in (moving, fixed))
        return encoders[0](moving), encoders[-1](fixed)

    def _coarse_to_fine(
        self,
        images: tuple[list[Tensor], list[Tensor]],
        masks: tuple[list[Tensor], list[Tensor]],
        start: Float[Tensor, "b 3 i j k"] | None,
    ) -> Float[Tensor, "b 3 i j k"]:
        """What is to be added to `start`."""
        skipped = self.design.finest - 1
        displacement: Tensor | None = None
        for number in reversed(range(skipped, LEVELS)):
            level = self.levels[number - skipped]
            moving, fixed = (features[number] for features in images)
            moving_mask, fixed_mask = (features[number] for features in masks)
            coarse = None if displacement is None else resize_displacement(displacement, moving.shape[2:])
            so_far = _sum(coarse, None if start is None else resize_displacement(start, moving.shape[2:]))
            if so_far is not None:
                moving, moving_mask = warp(moving, so_far), warp(moving_mask, so_far)
            fine = level(moving, fixed, moving_mask, fixed_mask)
            if coarse is None:
                displacement = fine
            else:
                displacement = compose(coarse, fine) if self.design.composition else coarse + fine
        assert displacement is not None  # noqa: S101 - there is at least one level
        for features in reversed(images[0][:skipped]):
            displacement = resize_displacement(displacement, features.shape[2:])
        return displacement


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
