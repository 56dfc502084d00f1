"""Label maps that lie on disk, made by whatever program."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from regbench.api import Card, MaskRequest, MaskSource, Volume
from regbench.data import read_volume
from regbench.data.cohorts.preprocess import resample_labels
from regbench.errors import BadValueError, DataError
from regbench.masks.request import only


@dataclass(frozen=True)
class FileMasks(MaskSource):
    """Label maps from a folder, one a scan, each on its scan's own grid.

    Attributes:
        folder: holds, for each scan, a NIfTI file of the scan's file name (AbdomenCTCT_0001_0000.nii.gz), or of its id
            with "_" for "/" (0001.nii.gz, patient001_ED.nii.gz). Label numbers are the task's.
    """

    card: ClassVar[Card] = Card(
        title="Files",
        summary="Label maps read from files; what made them, and what that has seen, is for their maker to say.",
        origin="The user's own files.",
    )
    saw_test_images: ClassVar[bool] = True
    saw_test_labels: ClassVar[bool] = False

    folder: Path | None = None

    def masks(self, request: MaskRequest) -> Mapping[str, Volume]:
        """Each scan's label map, brought onto the preprocessed grid as true labels are.

        Raises:
            BadValueError: if no folder is set.
            DataError: with every scan whose file is missing, unreadable, or on another grid than the scan.
        """
        if self.folder is None:
            raise BadValueError("The mask source 'files' needs a folder: add --set masks.folder=DIR.")
        masks: dict[str, Volume] = {}
        faults: list[str] = []
        for scan, volume in request.scans.items():
            try:
                masks[scan] = only(self._read(scan, request.sources[scan], volume), request)
            except DataError as error:
                faults += error.faults
        if faults:
            raise DataError(faults)
        return masks

    def _read(self, scan: str, source: Path, target: Volume) -> Volume:
        path = self._find(scan, source)
        mask, native = read_volume(path, "labels"), read_volume(source)
        if not mask.grid.matches(native.grid, tolerance_mm=0.05):
            raise DataError([f"{path} does not lie on the grid of its scan {source}: shape or affine differ."])
        labels = resample_labels(mask.data.numpy(), native.grid, target.grid)
        return Volume(torch.from_numpy(labels).to(target.data.device), target.grid)

    def _find(self, scan: str, source: Path) -> Path:
        assert self.folder is not None  # noqa: S101 - for the type checker
        names = [source.name, f"{scan.replace('/', '_')}.nii.gz", f"{scan.replace('/', '_')}.nii"]
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        raise DataError([f"{self.folder} holds no label map for the scan {scan}: expected {' or '.join(names)}."])
