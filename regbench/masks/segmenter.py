"""A segmentation network that is trained here, on the training side's labels only: the source that works everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from pydantic import Field
from torch import Tensor, nn

from regbench.api import Card, MaskRequest, MaskSource, Optimisation, Tick, Volume, patient_of
from regbench.engine import Course, fit
from regbench.errors import CheckpointError, DataError
from regbench.masks.augment import WIDE, mild, random_variant
from regbench.results import RunFolder

_LEVELS = 3


@dataclass(frozen=True)
class Segmenter(MaskSource):
    """A 3-D U-Net from MONAI, trained on the training scans and their labels, applied to all scans.

    Attributes:
        steps: of the training; the quick preset takes as many as two cores do in minutes.
        channels: of the U-Net's finest level, at half the resolution; twice as many at each of three coarser ones.
        learning_rate: of Adam, decaying to zero.
        augmentation: how strongly scans are varied, in ways that few steps can learn; 0: not at all. wide: in all the
            ways that segmentation networks are usually trained with, for 1000 steps and more.
        patch: training sees random boxes of at most so many voxels a side.
        batch_size: scans a step.
        folds: into so many the training patients are divided, and each one's masks come from a network that has not
            seen it: as wrong as those of test scans, which a method had better get used to. 1: from the one network
            that makes all masks; each further one takes a training of its own.
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
        origin="UNet of MONAI; Dice loss, and cross-entropy weighted by the inverse root of each class's size.",
        licence="Apache-2.0",
        trained_on="The training scans of the run's own cohort and their labels.",
    )
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = False
    quick: ClassVar[Mapping[str, object]] = MappingProxyType({"steps": 450, "augmentation": 0.7})

    steps: Annotated[int, Field(ge=1)] = 10_000
    channels: Annotated[int, Field(ge=4)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    augmentation: Annotated[float, Field(ge=0, le=3)] | Literal["wide"] = "wide"
    patch: Annotated[int, Field(ge=32)] = 112
    batch_size: Annotated[int, Field(ge=1)] = 2
    folds: Annotated[int, Field(ge=1)] = 1

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Train on the labelled training scans, then segment every scan.

        Raises:
            DataError: if the training side has no labels, or fewer patients than folds.
        """
        if not request.training_labels:
            raise DataError(["The mask source 'segmenter' trains on labels, and the training scans have none."])
        networks = {**dict.fromkeys(request.scans, self._train(request)), **self._held_out(request)}
        numbers = torch.tensor([0, *request.labels], dtype=torch.uint8, device=request.device)
        masks: dict[str, Volume] = {}
        for scan, volume in request.scans.items():
            masks[scan] = Volume(numbers[segment(networks[scan].eval(), volume.data)], volume.grid)
            request.progress.advanced(Tick(done=float(len(masks))))
        return masks

    def _held_out(self, request: MaskRequest) -> dict[str, nn.Module]:
        """For each training scan, if there is more than one fold, a network that has not seen its patient."""
        patients = sorted({patient_of(scan) for scan in request.training_labels})
        if len(patients) < self.folds:
            asked = f"{len(patients)} training patients for {self.folds} folds"
            raise DataError([f"The mask source 'segmenter' has {asked}; set masks.folds to fewer."])
        networks: dict[str, nn.Module] = {}
        for fold in range(self.folds if self.folds > 1 else 0):
            held = set(patients[fold :: self.folds])
            known = {scan: v for scan, v in request.training_labels.items() if patient_of(scan) not in held}
            workspace = request.workspace / f"without_{fold + 1}_of_{self.folds}"
            network = self._train(replace(request, training_labels=known, workspace=workspace))
            networks |= dict.fromkeys((scan for scan in request.training_labels if patient_of(scan) in held), network)
        return networks

    def _train(self, request: MaskRequest) -> nn.Module:
        """A trained network, from the workspace's checkpoint, or anew where that is damaged."""
        try:
            return self._trained(request)
        except CheckpointError:
            request.progress.note(f"The segmenter's checkpoint in {request.workspace} is damaged; training anew.")
            RunFolder(request.workspace).state.unlink()
            return self._trained(request)

    def _trained(self, request: MaskRequest) -> nn.Module:
        torch.manual_seed(request.seed)
        network = self._network(1 + len(request.labels)).to(request.device)
        scans = sorted(request.training_labels)
        numbers = _numbering(request)
        known = {scan: numbers[request.training_labels[scan].data.long()] for scan in scans}
        overlap = DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
        weight = _class_weights(list(known.values()), 1 + len(request.labels))

        variation = WIDE if self.augmentation == "wide" else mild(self.augmentation)

        def variant(draw: int) -> tuple[Tensor, Tensor]:
            name = scans[_position(draw, len(scans), request.seed)]
            scan, labels = random_variant(request.scans[name].data, known[name], variation)
            return self._crop(scan, labels)

        def losses(step: int) -> Mapping[str, Float[Tensor, ""]]:
            drawn = [variant(step * self.batch_size + place) for place in range(self.batch_size)]
            images, labels = (torch.stack(part)[:, None] for part in zip(*drawn, strict=True))
            logits, classes = _padded(network, images).float(), labels.long()
            return {"overlap": overlap(logits, classes), "entropy": F.cross_entropy(logits, classes[:, 0], weight)}

        course = Course(
            weights={"overlap": 1.0, "entropy": 1.0},
            optimisation=Optimisation(learning_rate=self.learning_rate, schedule="polynomial"),
            steps=self.steps,
            seed=request.seed,
            device=request.device,
            precision="bfloat16" if request.device.type == "cuda" else "float32",
        )
        fit(network, losses, course, RunFolder(request.workspace), request.progress)
        return network

    def _network(self, classes: int) -> nn.Module:
        network: nn.Module = UNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=classes,
            channels=[self.channels * 2**level for level in range(_LEVELS + 1)],
            strides=[2] * _LEVELS,
            norm=("instance", {"affine": True}),
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
        return _padded(network, scan[None, None])[0].argmax(0)


def _padded(network: nn.Module, scans: Float[Tensor, "b 1 i j k"]) -> Float[Tensor, "b n i j k"]:
    """The network's logits at any size: zeros at the far ends up to what its levels can halve."""
    i, j, k = scans.shape[2:]
    padding = [end for size in (k, j, i) for end in (0, -size % 2**_LEVELS)]
    logits: Float[Tensor, "b n x y z"] = network(F.pad(scans, padding))
    return logits[:, :, :i, :j, :k]


def _class_weights(label_maps: Sequence[UInt8[Tensor, "i j k"]], classes: int) -> Float[Tensor, " n"]:
    """Of the cross-entropy: the inverse root of each class's share of the voxels, so that small organs are learnt too.

    A class without any voxel counts as if it had one.
    """
    counts = torch.stack([torch.bincount(labels.flatten().long(), minlength=classes) for labels in label_maps]).sum(0)
    return counts.clamp_min(1).float().rsqrt()


def _numbering(request: MaskRequest) -> UInt8[Tensor, "256"]:
    """A table from label numbers to the network's classes."""
    table = torch.zeros(256, dtype=torch.uint8, device=request.device)
    for position, label in enumerate(request.labels, start=1):
        table[label] = position
    return table
