"""What a plugin author sees: geometry, pairs and truth, and the four kinds of plugin.

Geometry, said once. Arrays are indexed (i, j, k), the storage order of the NIfTI array. An `affine` maps a voxel index
to millimetres in RAS+. A displacement field has shape (3, i, j, k), lives on the fixed grid, its component c is the
displacement along axis c **in voxels of that grid**, and it pulls back: moved(x) = moving(x + u(x)).
"""

from regbench.api.card import Card
from regbench.api.geometry import Field, Grid, Landmarks, Volume
from regbench.api.masks import MaskRequest, MaskSource
from regbench.api.method import Method, Optimisation, Preset, Recipe, Trainable
from regbench.api.metric import Case, Metric
from regbench.api.pair import Batch, Pair, Setting, Truth
from regbench.api.protocol import Crop, PairId, Percentiles, Protocol, Squeeze, Window, patient_of
from regbench.api.task import Scan, Task

__all__ = [
    "Batch",
    "Card",
    "Case",
    "Crop",
    "Field",
    "Grid",
    "Landmarks",
    "MaskRequest",
    "MaskSource",
    "Method",
    "Metric",
    "Optimisation",
    "Pair",
    "PairId",
    "Percentiles",
    "Preset",
    "Protocol",
    "Recipe",
    "Scan",
    "Setting",
    "Squeeze",
    "Task",
    "Trainable",
    "Truth",
    "Volume",
    "Window",
    "patient_of",
]
