"""From a folder of scans to a cohort on the device.

The names are imported when they are first asked for, so that a record is read and written without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regbench.data.atomic import remove_folder, replacing_file, replacing_folder, write_bytes, write_text
    from regbench.data.checking import check, fitting_protocol, found_scans
    from regbench.data.cohort import Cohort, Points
    from regbench.data.fields import read_field, write_field
    from regbench.data.fingerprints import fingerprint
    from regbench.data.folders import cache_folder
    from regbench.data.itk import write_itk_field
    from regbench.data.landmarks import read_landmarks
    from regbench.data.loading import load_cohort, prepare
    from regbench.data.nifti import read_volume, write_volume
    from regbench.data.phantoms import phantom_folder
    from regbench.data.protocols import read_protocols

__all__ = [
    "Cohort",
    "Points",
    "cache_folder",
    "check",
    "fingerprint",
    "fitting_protocol",
    "found_scans",
    "load_cohort",
    "phantom_folder",
    "prepare",
    "read_field",
    "read_landmarks",
    "read_protocols",
    "read_volume",
    "remove_folder",
    "replacing_file",
    "replacing_folder",
    "write_bytes",
    "write_field",
    "write_itk_field",
    "write_text",
    "write_volume",
]

_HOME = {
    "Cohort": "cohort",
    "Points": "cohort",
    "cache_folder": "folders",
    "check": "checking",
    "fingerprint": "fingerprints",
    "fitting_protocol": "checking",
    "found_scans": "checking",
    "load_cohort": "loading",
    "phantom_folder": "phantoms",
    "prepare": "loading",
    "read_field": "fields",
    "read_landmarks": "landmarks",
    "read_protocols": "protocols",
    "read_volume": "nifti",
    "remove_folder": "atomic",
    "replacing_file": "atomic",
    "replacing_folder": "atomic",
    "write_bytes": "atomic",
    "write_field": "fields",
    "write_itk_field": "itk",
    "write_text": "atomic",
    "write_volume": "nifti",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
