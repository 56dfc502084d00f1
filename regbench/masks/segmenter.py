"""A segmentation network that is trained here, on the training side's labels only: the source that works everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from pydantic import Field
from torch import Tensor, nn

from regbench.api import Card, MaskRequest, MaskSource, Optimisation, Tick, Volume
from regbench.engine import Course, fit
from regbench.errors import DataError
from regbench.masks.augment import random_variant
from regbench.results import RunFolder

_LEVELS = 4


@dataclass(frozen=True)
class Segmenter(MaskSource):
    """A 3-D U-Net from MONAI, trained on the training scans and their labels, applied to all scans.

    Attributes:
        steps: of the training.
        channels: of the U-Net's finest level; twice as many at each coarser one, of five levels.
        learning_rate: of Adam, decaying to zero.
        augmentation: how strongly scans are varied; 0: not at all.
        patch: training sees random boxes of at most so many voxels a side.
    """

    card: ClassVar[Card] = Card(
        title="Segmenter",
        summary="A 3-D U-Net that regbench trains on the labels of the training scans; it never sees a test scan.",
        citation="""@inproceedings{cicek2016unet,
  author = {{\\c C}i{\\c c}ek, {\\"O}zg{\\"u}n and Abdulkadir, Ahmed and Lienkamp, Soeren S. and Brox, Thomas
            and Ronneberger, Olaf},
  title = {{3D U-Net}: Learning Dense Volumetric Segmentation from Sparse Annotation},
  booktitle = {MICCAI}, year = {2016}
}""",
        origin="BasicUNet of MONAI, Dice and cross-entropy loss.",
        licence="Apache-2.0",
        trained_on="The training scans of the run's own cohort and their labels.",
    )
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = False

    steps: Annotated[int, Field(ge=1)] = 150
    channels: Annotated[int, Field(ge=4)] = 12
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    augmentation: Annotated[float, Field(ge=0, le=3)] = 1.0
    patch: Annotated[int, Field(ge=32)] = 112

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Train on the labelled training scans, then segment every scan.

        Raises:
            DataError: if the training side has no labels.
        """
        if not request.training_labels:
            raise DataError(["The mask source 'segmenter' trains on labels, and the training scans have none."])
        network = self._train(request).eval()
        numbers = torch.tensor([0, *request.labels], dtype=torch.uint8, device=request.device)
        masks: dict[str, Volume] = {}
        for scan, volume in request.scans.items():
            masks[scan] = Volume(numbers[segment(network, volume.data)], volume.grid)
            request.progress.advanced(Tick(done=float(len(masks))))
        return masks

    def _train(self, request: MaskRequest) -> nn.Module:
        torch.manual_seed(request.seed)
        network = self._network(1 + len(request.labels)).to(request.device)
        criterion = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
        scans = sorted(request.training_labels)
        numbers = _numbering(request)

        def losses(step: int) -> Mapping[str, Float[Tensor, ""]]:
            name = scans[_position(step, len(scans), request.seed)]
            labels = numbers[request.training_labels[name].data.long()]
            scan, labels = self._crop(*random_variant(request.scans[name].data, labels, strength=self.augmentation))
            logits = _padded(network, scan)
            return {"segmentation": criterion(logits.float(), labels[None, None].long())}

        course = Course(
            weights={"segmentation": 1.0},
            optimisation=Optimisation(learning_rate=self.learning_rate, schedule="polynomial"),
            steps=self.steps,
            seed=request.seed,
            device=request.device,
            precision="bfloat16" if request.device.type == "cuda" else "float32",
        )
        fit(network, losses, course, RunFolder(request.workspace), request.progress)
        return network

    def _network(self, classes: int) -> nn.Module:
        c = self.channels
        network: nn.Module = BasicUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=classes,
            features=(c, 2 * c, 4 * c, 8 * c, 8 * c, c),
            norm=("instance", {"affine": True}),
            upsample="nontrainable",
        )
        return network

    def _crop(
        self, scan: Float[Tensor, "i j k"], labels: UInt8[Tensor, "i j k"]
    ) -> tuple[Float[Tensor, "a b c"], UInt8[Tensor, "a b c"]]:
        for axis, size in enumerate(scan.shape):
            start = int(torch.randint(max(0, size - self.patch) + 1, ()).item())
            scan, labels = (v.narrow(axis, start, min(size, self.patch)) for v in (scan, labels))
        return scan, labels


def _position(step: int, scans: int, seed: int) -> int:
    """Which scan a step sees: every scan once an epoch, in an order that depends on nothing but the seed."""
    epoch, place = divmod(step, scans)
    order = torch.randperm(scans, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    return int(order[place])


def segment(network: nn.Module, scan: Float[Tensor, "i j k"]) -> Shaped[Tensor, "i j k"]:
    """The likeliest class of every voxel."""
    with torch.no_grad():
        return _padded(network, scan)[0].argmax(0)


def _padded(network: nn.Module, scan: Float[Tensor, "i j k"]) -> Float[Tensor, "1 n i j k"]:
    """The network's logits at any size: zeros at the far ends up to what its levels can halve."""
    i, j, k = scan.shape
    padding = [end for size in (k, j, i) for end in (0, -size % 2**_LEVELS)]
    logits: Float[Tensor, "1 n a b c"] = network(F.pad(scan, padding)[None, None])
    return logits[:, :, :i, :j, :k]


def _numbering(request: MaskRequest) -> UInt8[Tensor, "256"]:
    """A table from label numbers to the network's classes."""
    table = torch.zeros(256, dtype=torch.uint8, device=request.device)
    for position, label in enumerate(request.labels, start=1):
        table[label] = position
    return table
