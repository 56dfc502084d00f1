"""A baseline's training in its plain formulation: the same weights, the same losses."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from benchmarks.plain.attention import PlainAttention
from benchmarks.plain.corrmlp import PlainCorrMLP
from benchmarks.plain.objective import objective
from benchmarks.plain.transformers import PlainHead, PlainTransMatch, PlainUnit
from benchmarks.plain.voxelmorph import PlainVoxelMorph
from regbench.api import Batch, Card, Preset, Recipe, Setting, Trainable
from regbench_baselines.corrmlp import CorrMLP, CorrMLPNet
from regbench_baselines.layers.blocks import FlowHead
from regbench_baselines.layers.conv_units import ConvUnit, ImageUnit, JoinedUnit
from regbench_baselines.layers.window_attention import WindowAttention
from regbench_baselines.transmatch import TransMatch, TransMatchNet
from regbench_baselines.transmorph import TransMorph
from regbench_baselines.voxelmorph import VoxelMorph, VoxelMorphNet

METHODS: Mapping[str, Trainable] = {
    "voxelmorph": VoxelMorph(),
    "transmorph": TransMorph(window_rules="official"),
    "transmatch": TransMatch(window_rules="official"),
    "corrmlp": CorrMLP(),
}
"""What has a plain formulation here."""
_NETWORKS: Mapping[type[nn.Module], type[nn.Module]] = {
    VoxelMorphNet: PlainVoxelMorph,
    CorrMLPNet: PlainCorrMLP,
    TransMatchNet: PlainTransMatch,
}
_PARTS: Mapping[type[nn.Module], Callable[[Any], nn.Module]] = {
    WindowAttention: PlainAttention,
    ConvUnit: PlainUnit,
    ImageUnit: PlainUnit,
    JoinedUnit: PlainUnit,
    FlowHead: PlainHead,
}


@dataclass(frozen=True)
class Plain(Trainable):
    """A method whose network and losses are computed as they are written down."""

    card: ClassVar[Card] = Card(title="Plain", summary="The plain formulation of another method.")
    method: Trainable

    def network(self, setting: Setting) -> nn.Module:
        return plain_twin(self.method.network(setting))

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return objective(network(batch.moving, batch.fixed), batch)

    def training(self, preset: Preset) -> Recipe:
        return self.method.training(preset)


def plain_twin(network: nn.Module) -> nn.Module:
    """A copy of a baseline's network, computed as it is written down."""
    twin = deepcopy(network)
    twin.__class__ = _NETWORKS.get(type(twin), type(twin))
    for module in list(twin.modules()):
        for name, part in list(module.named_children()):
            made = next((make for kind, make in _PARTS.items() if isinstance(part, kind)), None)
            if made:
                setattr(module, name, made(part))
    return twin
