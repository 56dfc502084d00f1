"""The metrics that come with regbench, as plugins."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from regbench.api import Card, Case, Metric
from regbench.metrics.overlap import dsc
from regbench.metrics.points import inverse_consistency_mm, landmark_errors_mm
from regbench.metrics.regularity import SLAB_PLANES, folding_percent_of_determinants, sdlogj_of_determinants
from regbench.metrics.surfaces.surface import assd, hd95
from regbench.metrics.tetrahedra import non_diffeomorphic_volume_percent

_LEARN2REG = """@article{hering2023learn2reg,
  title = {Learn2Reg: Comprehensive Multi-Task Medical Image Registration Challenge, Dataset and Evaluation in the Era
           of Deep Learning},
  author = {Hering, Alessa and Hansen, Lasse and Mok, Tony C. W. and others},
  journal = {IEEE Transactions on Medical Imaging},
  volume = {42}, number = {3}, pages = {697--712}, year = {2023}
}"""

_SURFACE = "The definition of DeepMind's surface-distance: areas by marching cubes, zero outside the volume."
_PUSHED_OUT = "A label that the warp pushed out of the volume counts as far away as the volume's diagonal is long."


@dataclass(frozen=True)
class DSC(Metric):
    """Dice similarity coefficient in percent, by label."""

    card = Card(
        title="DSC",
        summary="Dice similarity coefficient of each label, nearest-neighbour warp.",
        citation="""@article{dice1945measures,
  title = {Measures of the Amount of Ecologic Association Between Species},
  author = {Dice, Lee R.}, journal = {Ecology}, volume = {26}, number = {3}, pages = {297--302}, year = {1945}
}""",
        origin="Dice, Ecology 1945; labels as in the Learn2Reg evaluation 2.0",
        differs=("A label that the warp pushed out of the volume counts 0; one absent from a scan is not counted.",),
    )
    unit = "%"
    higher_is_better = True
    digits = 1

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """Label → percent."""
        truth = case.truth
        fixed, moving = truth.fixed_labels.data, truth.moving_labels.data
        return {
            label: 100 * value
            for label, value in dsc(fixed, case.moved_labels.data, truth.labels, moving=moving).items()
        }


@dataclass(frozen=True)
class HD95(Metric):
    """95 % Hausdorff distance in millimetres of the fixed scan, by label."""

    card = Card(
        title="HD95",
        summary="Robust Hausdorff distance: area-weighted 95th percentile, the greater of both directions.",
        citation=_LEARN2REG,
        origin="Learn2Reg evaluation 2.0, with the true spacing",
        differs=(_SURFACE, "In millimetres of the fixed scan, where Learn2Reg counts voxels.", _PUSHED_OUT),
    )
    unit = "mm"
    higher_is_better = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """Label → millimetres."""
        return _surface_distances(hd95, case)


@dataclass(frozen=True)
class HD95L2R(Metric):
    """95 % Hausdorff distance in voxels, as Learn2Reg has it, by label."""

    card = Card(
        title="HD95 (L2R)",
        summary="Robust Hausdorff distance in voxels, whatever the spacing; infinite for a label pushed out.",
        citation=_LEARN2REG,
        origin="Learn2Reg evaluation 2.0",
        differs=(_SURFACE,),
    )
    unit = "voxel"
    higher_is_better = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """Label → voxels."""
        truth = case.truth
        fixed, moving = truth.fixed_labels.data, truth.moving_labels.data
        distances = hd95(fixed, case.moved_labels.data, truth.labels, (1, 1, 1), moving=moving)
        return {label: value for label, value in distances.items()}  # noqa: C416 - a mapping that may also hold None


@dataclass(frozen=True)
class ASSD(Metric):
    """Average symmetric surface distance in millimetres of the fixed scan, by label."""

    card = Card(
        title="ASSD",
        summary="Average symmetric surface distance: area-weighted mean over both surfaces.",
        origin="surface elements as for HD95",
        differs=(_SURFACE, _PUSHED_OUT),
    )
    unit = "mm"
    higher_is_better = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """Label → millimetres."""
        return _surface_distances(assd, case)


@dataclass(frozen=True)
class SDlogJ(Metric):
    """Standard deviation of the logarithm of the Jacobian determinant."""

    card = Card(
        title="SDlogJ",
        summary="Standard deviation of log det(I + ∇u), determinants clipped at 1e-9; to be read beside the folding.",
        origin="central differences, two voxels cropped on each side",
    )
    unit = ""
    higher_is_better = False
    digits = 3

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number."""
        return {None: sdlogj_of_determinants(torch.split(case.determinant, SLAB_PLANES))}


@dataclass(frozen=True)
class SDlogJL2R(Metric):
    """Standard deviation of the logarithm of the Jacobian determinant plus three, as Learn2Reg has it."""

    card = Card(
        title="SDlogJ (L2R)",
        summary="Standard deviation of log(det(I + ∇u) + 3), the number that papers print as SDlogJ.",
        citation=_LEARN2REG,
        origin="Learn2Reg evaluation 2.0",
    )
    unit = ""
    higher_is_better = False
    digits = 3

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number."""
        return {None: sdlogj_of_determinants(torch.split(case.determinant, SLAB_PLANES), "l2r")}


@dataclass(frozen=True)
class Folding(Metric):
    """Share of voxels that fold, in percent."""

    card = Card(
        title="folding",
        summary="Share of inner voxels with det(I + ∇u) ≤ 0, central differences, two voxels cropped on each side.",
        origin="the usual count of folded voxels",
        differs=("Learn2Reg counts after adding 3 to the determinants, and so always prints 0.",),
    )
    unit = "%"
    higher_is_better = False
    digits = 3

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number."""
        return {None: folding_percent_of_determinants(torch.split(case.determinant, SLAB_PLANES))}


@dataclass(frozen=True)
class NonDiffeomorphicVolume(Metric):
    """Volume that a digital field turns inside out, in percent."""

    card = Card(
        title="NDV",
        summary="Non-diffeomorphic volume: what ten tetrahedra around each voxel show to be turned inside out.",
        citation="""@article{liu2024finite,
  title = {On Finite Difference Jacobian Computation in Deformable Image Registration},
  author = {Liu, Yihao and Chen, Junyu and Wei, Shuwen and Carass, Aaron and Prince, Jerry},
  journal = {International Journal of Computer Vision}, volume = {132}, pages = {3678--3688}, year = {2024}
}""",
        origin="Liu et al., IJCV 2024",
    )
    unit = "%"
    higher_is_better = False
    digits = 3

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number."""
        return {None: non_diffeomorphic_volume_percent(case.field.displacement)}


@dataclass(frozen=True)
class TRE(Metric):
    """Target registration error at landmarks, in millimetres."""

    card = Card(
        title="TRE",
        summary="Mean distance in the moving scan between where the field takes a landmark and where it belongs.",
        origin="Learn2Reg evaluation 2.0",
        citation=_LEARN2REG,
        differs=("The field is interpolated trilinearly; landmarks outside the field's grid are left out.",),
    )
    unit = "mm"
    higher_is_better = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number; none where the pair has no landmarks."""
        if case.truth.landmarks is None:
            return {}
        spacing = case.truth.moving_labels.grid.spacing_mm
        errors = landmark_errors_mm(case.field.displacement, case.truth.landmarks, spacing)
        return {None: float(errors.mean())} if len(errors) else {}


@dataclass(frozen=True)
class InverseConsistency(Metric):
    """How far the two directions of a pair are from being each other's inverse, in millimetres."""

    card = Card(
        title="inverse consistency",
        summary="Mean of |u∘v + v| where both directions of a pair were registered.",
        origin="Christensen and Johnson, IEEE Transactions on Medical Imaging 2001",
        citation="""@article{christensen2001consistent,
  title = {Consistent Image Registration}, author = {Christensen, Gary E. and Johnson, Hans J.},
  journal = {IEEE Transactions on Medical Imaging}, volume = {20}, number = {7}, pages = {568--582}, year = {2001}
}""",
        differs=("Voxels that are taken out of the other scan are left out, as there is no field.",),
    )
    unit = "mm"
    higher_is_better = False

    def measure(self, case: Case) -> Mapping[int | None, float]:
        """One number; none where only one direction was run."""
        if case.reverse is None:
            return {}
        forth, back = case.field.displacement, case.reverse.displacement
        value = inverse_consistency_mm(forth, back, case.reverse.grid.spacing_mm)
        return {None: value} if math.isfinite(value) else {}


def _surface_distances(distances: Callable[..., dict[int, float]], case: Case) -> Mapping[int | None, float]:
    """Label → millimetres, a label that was pushed out as far away as can be."""
    truth, grid = case.truth, case.truth.fixed_labels.grid
    diagonal = math.hypot(*((n - 1) * step for n, step in zip(grid.shape, grid.spacing_mm, strict=True)))
    values = distances(
        truth.fixed_labels.data,
        case.moved_labels.data,
        truth.labels,
        grid.spacing_mm,
        moving=truth.moving_labels.data,
    )
    return {label: value if math.isfinite(value) else diagonal for label, value in values.items()}
