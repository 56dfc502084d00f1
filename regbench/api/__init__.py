"""What a plugin author sees: geometry, pairs and truth, and the four kinds of plugin.

Geometry, said once. Arrays are indexed (i, j, k), the storage order of the NIfTI array. An `affine` maps a voxel index
to millimetres in RAS+. A displacement field has shape (3, i, j, k), lives on the fixed grid, its component c is the
displacement along axis c **in voxels of that grid**, and it pulls back: moved(x) = moving(x + u(x)).

The names are imported when they are first asked for, so that a board is printed without torch.
"""

from typing import TYPE_CHECKING

from regbench.lazy import lazily

if TYPE_CHECKING:
    from regbench.api.card import Card
    from regbench.api.geometry import Field, Landmarks, Volume
    from regbench.api.grid import Grid, Shape
    from regbench.api.masks import MaskRequest, MaskSource
    from regbench.api.method import Method, Optimisation, Preset, Recipe, Trainable
    from regbench.api.metric import Case, Metric
    from regbench.api.pair import Batch, Pair, Setting, Truth
    from regbench.api.progress import Progress, Silent, Tick
    from regbench.api.protocol import Crop, PairId, Percentiles, Protocol, Squeeze, Window, patient_of
    from regbench.api.task import Scan, Task
else:
    __getattr__ = lazily(__name__)

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
    "Progress",
    "Protocol",
    "Recipe",
    "Scan",
    "Setting",
    "Shape",
    "Silent",
    "Squeeze",
    "Task",
    "Tick",
    "Trainable",
    "Truth",
    "Volume",
    "Window",
    "patient_of",
]
