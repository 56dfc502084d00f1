"""From a folder of scans to a cohort on the device."""

from pathlib import Path

import numpy as np
import torch

from regbench.api import Protocol, Task
from regbench.data.cohort import Cohort, Points
from regbench.data.landmarks import read_landmarks
from regbench.data.nifti import read_volume
from regbench.data.preprocess import only_labels, resample_labels, resample_scan, to_unit
from regbench.errors import DataError


def load_cohort(
    task: Task, folder: Path, protocol: Protocol, *, device: torch.device | str = "cpu", cache: Path | None = None
) -> Cohort:
    """The whole cohort of a protocol on a device."""
    found = task.scans(folder)
    ids = protocol.train + protocol.test
    missing = [
        f"{folder} has no scan {scan}, which the protocol {protocol.name} names." for scan in ids if scan not in found
    ]
    if missing:
        raise DataError(missing)
    images, labels, grids, points = [], [], [], {}
    for scan in ids:
        files = found[scan]
        image = read_volume(files.image)
        grid = protocol.grid.target(image.grid)
        images.append(
            torch.from_numpy(resample_scan(to_unit(image.data.numpy(), protocol.intensity), image.grid, grid))
        )
        truth = read_volume(files.labels, "labels")
        wanted = only_labels(truth.data.numpy(), protocol.labels)
        labels.append(torch.from_numpy(resample_labels(wanted, truth.grid, grid)))
        grids.append(grid)
        if files.landmarks:
            named = read_landmarks(files.landmarks)
            index = grid.to_index(np.array(list(named.values())).reshape(-1, 3))
            points[scan] = Points(tuple(named), torch.from_numpy(index).float())
    return Cohort(
        protocol=protocol,
        ids=ids,
        images=torch.stack(images)[:, None],
        labels=torch.stack(labels)[:, None],
        grids=tuple(grids),
        landmarks=points,
        sources={scan: found[scan].image for scan in ids},
    ).to(device)
