"""The conformance checks find every fault that they are for, and nothing in what is sound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from regbench.api import (
    Batch,
    Card,
    Case,
    Field,
    MaskRequest,
    MaskSource,
    Method,
    Metric,
    Pair,
    Preset,
    Recipe,
    Setting,
    Trainable,
    Volume,
)
from regbench.data import read_volume
from regbench.errors import BadValueError, UnknownNameError
from regbench.losses import gradient_penalty, lncc
from regbench.spatial import warp
from regbench.testing import check_masks, check_method, check_metric, check_plugin, check_task

CARD = Card(title="Toy", summary="A toy.")


@dataclass(frozen=True)
class Centroid(Method):
    card: ClassVar[Card] = CARD

    def register(self, pair: Pair) -> Field:
        return constant(pair, self.shift(pair))

    def shift(self, pair: Pair) -> Tensor:
        return centre(pair.moving.data) - centre(pair.fixed.data)


def centre(image: Tensor) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float32) for n in image.shape]
    return (torch.stack(torch.meshgrid(*axes, indexing="ij")) * image).sum((1, 2, 3)) / image.sum()


def constant(pair: Pair, shift: Tensor) -> Field:
    return Field(shift.reshape(3, 1, 1, 1).expand(3, *pair.grid.shape).clone(), pair.grid)


class Net(nn.Module):
    def __init__(self, start: float = 1e-4) -> None:
        super().__init__()
        self.features = nn.Conv3d(2, 4, 3, padding=1)
        self.flow = nn.Conv3d(4, 3, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=start)
        nn.init.zeros_(self.flow.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return self.flow(torch.tanh(self.features(torch.cat([moving, fixed], 1))))


@dataclass(frozen=True)
class Learner(Trainable):
    card: ClassVar[Card] = CARD

    def network(self, setting: Setting) -> nn.Module:
        return Net()

    def training(self, preset: Preset) -> Recipe:
        return Recipe.common(preset, {"similarity": 1.0, "smooth": 1.0})

    def losses(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        u = self.displacement(network, batch)
        return {"similarity": lncc(batch.fixed, warp(batch.moving, u)), "smooth": gradient_penalty(u)}


def variant(base: type, **members: Any) -> type:
    return dataclass(frozen=True)(type("Toy", (base,), {"__module__": __name__, **members}))


def test_a_sound_method_has_no_faults() -> None:
    assert check_method(Centroid) == []
    assert check_method(Centroid()) == []


def test_a_sound_trainable_method_has_no_faults() -> None:
    assert check_method(Learner) == []


def wrong_way(self: Centroid, pair: Pair) -> Field:
    return constant(pair, -self.shift(pair))


def swapped_axes(self: Centroid, pair: Pair) -> Field:
    return constant(pair, self.shift(pair).flip(0))


def in_millimetres_of_another(self: Centroid, pair: Pair) -> Field:
    return constant(pair, self.shift(pair).mean().expand(3))


def writes(self: Centroid, pair: Pair) -> Field:
    pair.fixed.data.mul_(0.5)
    return constant(pair, torch.zeros(3))


def random(self: Centroid, pair: Pair) -> Field:
    return constant(pair, torch.rand(3))


def not_finite(self: Centroid, pair: Pair) -> Field:
    return constant(pair, torch.full((3,), torch.nan))


def with_numpy(self: Centroid, pair: Pair) -> Field:
    field = constant(pair, self.shift(pair))
    object.__setattr__(field, "displacement", field.displacement.numpy())
    return field


def elsewhere(self: Centroid, pair: Pair) -> Field:
    return constant(pair, self.shift(pair).to("meta"))


def needs_even(self: Centroid, pair: Pair) -> Field:
    if any(n % 2 for n in pair.grid.shape):
        raise RuntimeError("sizes must be even")
    return constant(pair, self.shift(pair))


def other_type(self: Centroid, pair: Pair) -> Any:
    return constant(pair, self.shift(pair)).displacement


REMEMBERED: list[Tensor] = []


def remembers(self: Centroid, pair: Pair) -> Field:
    last = REMEMBERED[-1] if REMEMBERED else torch.zeros(3)
    if not (REMEMBERED and torch.equal(REMEMBERED[-1], self.shift(pair))):
        REMEMBERED.append(self.shift(pair))
    return constant(pair, self.shift(pair) if len(REMEMBERED) < 2 else last)


def in_millimetres(self: Centroid, pair: Pair) -> Field:
    return constant(pair, self.shift(pair) * torch.tensor(pair.grid.spacing_mm))


def too_far(self: Centroid, pair: Pair) -> Field:
    return constant(pair, 2.5 * self.shift(pair))


def moving_only(self: Centroid, pair: Pair) -> Field:
    middle = torch.tensor([(n - 1) / 2 for n in pair.grid.shape])
    return constant(pair, centre(pair.moving.data) - middle)


KEPT: dict[Any, Tensor] = {}


def keeps_features_by_shape(self: Centroid, pair: Pair) -> Field:
    kept = KEPT.setdefault(pair.grid.shape, centre(pair.fixed.data))
    return constant(pair, centre(pair.moving.data) - kept)


def keeps_the_first_mean(self: Centroid, pair: Pair) -> Field:
    self.__dict__.setdefault("mean", pair.fixed.data.mean())
    return constant(pair, self.shift(pair) * self.__dict__["mean"])


def peeks_at_masks(self: Centroid, pair: Pair) -> Field:
    if pair.fixed_mask is None or pair.moving_mask is None:
        return constant(pair, self.shift(pair))
    return constant(pair, centre(pair.moving_mask.data.float()) - centre(pair.fixed_mask.data.float()))


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (in_millimetres, "not in millimetres"),
        (too_far, "by 5 voxels, a ball that was 2 off lies worse than before"),
        (moving_only, "Another fixed scan gives the same field"),
        (keeps_features_by_shape, "keep nothing from the pair before"),
        (keeps_the_first_mean, "depends on what was registered before"),
        (peeks_at_masks, "write masks = 'always'"),
        (wrong_way, "along axis 0 the wrong way"),
        (swapped_axes, "a shift along axis 0 along axis 2"),
        (in_millimetres_of_another, "only little more along it"),
        (writes, "wrote to the scans"),
        (random, "registered twice gives two fields"),
        (not_finite, "not finite"),
        (needs_even, "while it registered a pair of 19×23×13 voxels: sizes must be even"),
        (other_type, "gave a Tensor; expected a regbench.api.Field"),
        (with_numpy, "holds a ndarray; expected a torch.Tensor"),
        (elsewhere, "is on meta, the scans are on cpu"),
        (remembers, "depends on what was registered before"),
    ],
)
def test_faults_of_a_method_are_found(register: Any, said: str) -> None:
    REMEMBERED.clear()
    KEPT.clear()
    faults = check_method(variant(Centroid, register=register))
    assert any(said in fault for fault in faults), faults
    if register in (other_type, with_numpy, elsewhere, not_finite):
        assert len(faults) == 1, faults


def test_faults_of_form_are_found() -> None:
    assert "has no title" in check_method(variant(Centroid, card=Card(title="", summary="x")))[0]
    assert "no BibTeX" in check_method(variant(Centroid, card=Card(title="x", summary="x", citation="Me, 2020")))[0]
    assert "expected 'never'" in check_method(variant(Centroid, masks="sometimes"))[0]
    assert "not Trainable" in check_method(variant(Centroid, masks="training"))[0]
    assert "has no card" in check_method(variant(Centroid, card=None))[0]

    class Thawed(Centroid):
        pass

    Thawed.__dataclass_params__ = dataclass(type("X", (), {})).__dataclass_params__  # type: ignore[attr-defined]
    assert "no frozen dataclass" in check_method(Thawed)[0]

    @dataclass(frozen=True)
    class Unwritable(Centroid):
        what: Any = field(default_factory=object)

    assert any("cannot be written to a record" in fault or "TypeError" in fault or "Serialization" in fault
               for fault in check_method(Unwritable))  # fmt: skip


def test_an_error_is_told_with_its_line() -> None:
    line = needs_even.__code__.co_firstlineno + 2
    faults = check_method(variant(Centroid, register=needs_even))
    assert any(fault.endswith(f"sizes must be even (test_testing.py, line {line})") for fault in faults), faults


def test_a_method_that_skips_everything_is_a_fault() -> None:
    faults = check_method(variant(Centroid, skip=lambda self, pair: "Not today."))
    assert faults == ["It skips an ordinary pair of 24×16×20 voxels: Not today."]


class Flipped(Net):
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return super().forward(moving, fixed).flip(1)


class FromBatch(Net):
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return super().forward(moving, fixed) + 0.01 * moving.mean(0, keepdim=True) * (len(moving) - 1)


class Halved(Net):
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return super().forward(moving, fixed)[..., : moving.shape[-1] // 2 * 2]


class Forgetful(Net):
    def __init__(self) -> None:
        super().__init__()
        self.secret = 1e-3 * torch.rand(3, 1, 1, 1)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return super().forward(moving, fixed) + self.secret


class Offset(Net):
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return super().forward(moving, fixed) + 0.05


class Sticky(Net):
    first: Tensor | None = None

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        if self.first is None and not self.training:
            self.first = fixed.mean()
        return super().forward(moving, fixed) * (1 if self.first is None else self.first)


def predicts_millimetres(self: Learner, network: nn.Module, pair: Pair) -> Field:
    field = Learner.predict(self, network, pair)
    return Field(field.displacement * torch.tensor(pair.grid.spacing_mm).view(3, 1, 1, 1), pair.grid)


def shouts_in_bfloat16(self: Learner, network: nn.Module, batch: Batch) -> Tensor:
    u = Learner.displacement(self, network, batch)
    return u / 0 if u.dtype == torch.bfloat16 else u


def safe_losses(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    with torch.autocast("cpu", enabled=False):
        return Learner().losses(network, batch)


def mask_term(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    terms = dict(Learner().losses(network, batch))
    if batch.fixed_mask is not None:
        terms["smooth"] = terms["smooth"] * (1 + batch.fixed_mask.float().mean())
    return terms


def rubs_out_masks(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    terms = mask_term(self, network, batch)
    if batch.fixed_mask is not None:
        batch.fixed_mask.zero_()
    return terms


def backwards(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    u = self.displacement(network, batch)
    return {"similarity": lncc(batch.fixed, warp(batch.moving, -u)), "smooth": gradient_penalty(u)}


def crossed(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    u = self.displacement(network, batch)
    return {"similarity": lncc(batch.fixed, warp(batch.moving, u.flip(1))), "smooth": gradient_penalty(u)}


def diverges(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    return {"similarity": self.displacement(network, batch).sum() * torch.nan}


def unweighted(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    return {**Learner().losses(network, batch), "extra": self.displacement(network, batch).square().mean()}


def detached(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    u = self.displacement(network, batch).detach().requires_grad_()
    return {"similarity": lncc(batch.fixed, warp(batch.moving, u))}


def not_scalar(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    return {"similarity": self.displacement(network, batch)[0, 0, 0, 0]}


def in_place(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    terms = Learner().losses(network, batch)
    batch.fixed.data.add_(0.1)
    return terms


def without_gradient(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    with torch.no_grad():
        return Learner().losses(network, batch)


def misspelt(self: Learner, preset: Preset) -> Recipe:
    return Recipe.common(preset, {"similarty": 1.0, "smoth": 1.0})


@pytest.mark.parametrize(
    ("members", "faults"),
    [
        ({"network": lambda self, setting: None}, ["`network` gave a NoneType; expected"]),
        ({"network": lambda self, setting: nn.Identity()}, ["The network has no parameters"]),
        ({"losses": diverges}, ["The loss term 'similarity' is nan; expected"]),
        ({"losses": without_gradient}, ["The losses have no gradient by any parameter"]),
        ({"losses": lambda self, network, batch: torch.zeros(())}, ["`losses` gave a Tensor; expected a mapping"]),
        ({"losses": lambda self, network, batch: {"similarity": 0.5}}, ["The loss term 'similarity' is no scalar"]),
        ({"training": lambda self, preset: None}, [f"`training` of Toy gave a NoneType for the preset {preset}; expec"
                                                   for preset in ("quick", "paper")]),
        ({"training": misspelt}, [f"The loss term '{term}' has no weight in the recipe of the preset {preset}"
                                  for preset in ("quick", "paper") for term in ("similarity", "smooth")]),
    ],
)  # fmt: skip
def test_what_nothing_works_without_is_said_alone(members: dict[str, Any], faults: list[str]) -> None:
    """What follows from it is no news."""
    found = check_method(variant(Learner, **members))
    assert len(found) == len(faults), found
    assert all(one.startswith(said) for one, said in zip(found, faults, strict=True)), found


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"network": lambda self, setting: Net(start=5.0)}, "has to start near the identity"),
        ({"network": lambda self, setting: Offset()}, "With all weights zero it moves by 0.05 voxels"),
        ({"network": lambda self, setting: Sticky()}, "A network's field depends on the pairs that it saw before"),
        ({"predict": predicts_millimetres}, "not in millimetres"),
        ({"displacement": shouts_in_bfloat16, "losses": safe_losses}, "Under autocast to bfloat16: The field is not"),
        ({"losses": mask_term}, "write masks = 'training'"),
        ({"masks": "training"}, "no loss term depends on them"),
        ({"masks": "training", "losses": rubs_out_masks}, "wrote to the batch"),
        ({"network": lambda self, setting: FromBatch()}, "depends on the other pair"),
        ({"network": lambda self, setting: Halved()}, "while it registered a pair of 19×23×13"),
        ({"network": lambda self, setting: Forgetful()}, "belongs in its state_dict"),
        ({"losses": backwards}, "A step of training answers a shift along axis 0 the wrong way"),
        ({"losses": crossed}, "A step of training answers a shift along axis 0 along axis 2"),
        ({"losses": unweighted}, "'extra' has no weight in the recipe of the preset quick"),
        ({"losses": not_scalar}, "'similarity' is no scalar"),
        ({"losses": in_place}, "wrote to the batch"),
        ({"losses": detached}, "no gradient by any parameter"),
    ],
)
def test_faults_of_a_trainable_method_are_found(members: dict[str, Any], said: str) -> None:
    faults = check_method(variant(Learner, **members))
    assert any(said in fault for fault in faults), faults


def test_what_breaks_under_autocast_is_found() -> None:
    def losses(self: Learner, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        if torch.is_autocast_enabled("cpu"):
            return {"similarity": self.displacement(network, batch).sum() * torch.inf}
        return Learner().losses(network, batch)

    assert any(fault.startswith("Under autocast") for fault in check_method(variant(Learner, losses=losses)))


def test_flipped_channels_alone_are_no_fault() -> None:
    """A network that orders its channels as it likes learns the right order: the loss tells it."""
    assert check_method(variant(Learner, network=lambda self, setting: Flipped())) == []


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    check_method(Learner)
    assert torch.equal(torch.rand(1), expected)


def test_a_wrong_request_is_handed_on() -> None:
    def register(self: Centroid, pair: Pair) -> Field:
        raise BadValueError("needs a program")

    with pytest.raises(BadValueError, match="needs a program"):
        check_method(variant(Centroid, register=register))
    with pytest.raises(UnknownNameError):
        check_method("nobody")


@dataclass(frozen=True)
class Length(Metric):
    card: ClassVar[Card] = CARD
    unit: ClassVar[str] = "voxel"
    higher_is_better: ClassVar[bool] = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        return {None: float(case.field.displacement.norm(dim=0).mean())}


def counts_absent(self: Metric, case: Case) -> Mapping[int | None, float]:
    return dict.fromkeys(case.truth.labels, 1.0)


def strange_label(self: Metric, case: Case) -> Mapping[int | None, float]:
    return {77: 1.0}


def tensor_value(self: Metric, case: Case) -> Any:
    return {None: case.field.displacement.mean()}


def both(self: Metric, case: Case) -> Mapping[int | None, float]:
    return {None: 1.0, 1: 1.0}


def scribbles(self: Metric, case: Case) -> Mapping[int | None, float]:
    case.determinant.clamp_(min=1e-9)
    return {None: 1.0}


def random_value(self: Metric, case: Case) -> Mapping[int | None, float]:
    return {None: float(torch.rand(()))}


def wants_landmarks(self: Metric, case: Case) -> Mapping[int | None, float]:
    assert case.truth.landmarks is not None
    return {None: 1.0}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"measure": counts_absent}, "absent from both scans"),
        ({"measure": counts_absent}, "absent from the fixed scan"),
        ({"measure": strange_label}, "label 77"),
        ({"measure": tensor_value}, "expected a finite float"),
        ({"measure": both}, "two metrics"),
        ({"measure": scribbles}, "wrote to the case"),
        ({"measure": random_value}, "gives two results"),
        ({"measure": wants_landmarks}, "raised AssertionError"),
        ({"higher_is_better": True}, "says that higher is better"),
        ({"unit": None}, "no `unit`"),
        ({"higher_is_better": "yes"}, "`higher_is_better`"),
        ({"digits": -1}, "`digits` is -1"),
    ],
)
def test_faults_of_a_metric_are_found(members: dict[str, Any], said: str) -> None:
    assert check_metric(Length) == []
    faults = check_metric(variant(Length, **members))
    assert any(said in fault for fault in faults), faults


@dataclass(frozen=True)
class Threshold(MaskSource):
    card: ClassVar[Card] = CARD
    saw_test_images: ClassVar[bool] = False
    saw_test_labels: ClassVar[bool] = False

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        return {name: Volume((scan.data > 0.5).to(torch.uint8), scan.grid) for name, scan in request.scans.items()}


def test_a_mask_source_finds_the_files_of_its_scans() -> None:
    def from_files(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
        assert all(torch.equal(read_volume(request.sources[s]).data, v.data) for s, v in request.scans.items())
        return Threshold().masks(request)

    assert check_masks(variant(Threshold, masks=from_files)) == []


def some(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
    return dict(list(Threshold().masks(request).items())[1:])


def floats(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
    return {name: Volume(scan.data, scan.grid) for name, scan in request.scans.items()}


def strangers(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
    return {n: Volume(torch.full(s.data.shape, 9, dtype=torch.uint8), s.grid) for n, s in request.scans.items()}


def unseeded(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
    return {n: Volume((torch.rand(s.data.shape) > 0.5).to(torch.uint8), s.grid) for n, s in request.scans.items()}


def peeks(self: MaskSource, request: MaskRequest) -> Mapping[str, Volume]:
    assert request.truth is not None
    return request.truth


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"masks": some}, "no mask for the scan train1"),
        ({"masks": floats}, "expected torch.uint8"),
        ({"masks": strangers}, "labels [9]"),
        ({"masks": unseeded}, "gives other masks"),
        ({"masks": peeks}, "raised AssertionError"),
        ({"saw_test_labels": None}, "`saw_test_labels`"),
    ],
)
def test_faults_of_a_mask_source_are_found(members: dict[str, Any], said: str) -> None:
    assert check_masks(Threshold) == []
    assert check_masks(variant(Threshold, masks=peeks, saw_test_labels=True)) == []
    faults = check_masks(variant(Threshold, **members))
    assert any(said in fault for fault in faults), faults


@pytest.fixture
def balls(load_module: Callable[[str, Path], ModuleType]) -> type:
    """The task of the separate distribution, straight from its file."""
    file = Path(__file__).parent / "plugins" / "toybox" / "src" / "toybox" / "balls.py"
    return load_module("toybox_balls", file).Balls


def test_faults_of_a_task_are_found(balls: Any) -> None:
    assert check_task(balls) == []

    def no_landmarks(self: Any, folder: Path, **options: Any) -> None:
        balls().phantom(folder, **options)
        for file in folder.glob("*.csv"):
            file.unlink()

    def always_alike(self: Any, folder: Path, **options: Any) -> None:
        balls().phantom(folder, **{**options, "seed": 0})

    def too_large(self: Any, folder: Path, **options: Any) -> None:
        balls().phantom(folder, **{**options, "shape": (24, 24, 24)})

    def few(self: Any, folder: Path, **options: Any) -> None:
        balls().phantom(folder, **{**options, "cases": 1})

    for members, said in [
        ({"phantom": no_landmarks}, "no landmarks"),
        ({"phantom": always_alike}, "Another seed gives the same phantom"),
        ({"phantom": too_large}, "has (24, 24, 24)"),
        ({"phantom": few}, "lacks"),
        ({"default_protocol": "other"}, "no protocol 'other'"),
        ({"modality": "us"}, "expected 'ct' or 'mr'"),
        ({"scans": lambda self, folder: {}}, "empty folder is taken"),
    ]:
        faults = check_task(variant(balls, **members))
        assert any(said in fault for fault in faults), (said, faults)


def test_check_plugin_knows_every_kind() -> None:
    assert check_plugin("method", Centroid) == check_plugin("metric", Length) == check_plugin("masks", Threshold) == []
