"""What mask sources ask of a request."""

import torch

from regbench.api import MaskRequest, Volume
from regbench.errors import DataError


def truth_of(request: MaskRequest, scan: str) -> Volume:
    """The true labels of a scan, restricted to the request's structures.

    Raises:
        DataError: if the scan has none.
    """
    found = (request.truth or {}).get(scan)
    if found is None:
        raise DataError([f"The scan {scan} has no label map; masks from the truth need one for every scan."])
    return only(found, request)


def only(labels: Volume, request: MaskRequest) -> Volume:
    """The label map with everything but the request's structures set to background."""
    table = torch.zeros(256, dtype=torch.uint8, device=labels.data.device)
    for label in request.labels:
        table[label] = label
    return Volume(table[labels.data.long()], labels.grid)
