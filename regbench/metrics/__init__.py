"""Pure functions: a field and labels in, numbers out; and the metrics that are registered."""

from regbench.metrics.overlap import dsc
from regbench.metrics.points import inverse_consistency_mm, landmark_errors_mm, tre_mm
from regbench.metrics.regularity import folding_percent, sdlogj
from regbench.metrics.surfaces.surface import assd, hd95
from regbench.metrics.tetrahedra import non_diffeomorphic_volume_percent

__all__ = [
    "assd",
    "dsc",
    "folding_percent",
    "hd95",
    "inverse_consistency_mm",
    "landmark_errors_mm",
    "non_diffeomorphic_volume_percent",
    "sdlogj",
    "tre_mm",
]
