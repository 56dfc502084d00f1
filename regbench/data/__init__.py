"""From a folder of scans to a cohort on the device.

The names are imported when they are first asked for, so that a record is read and written without torch.
"""

from typing import TYPE_CHECKING

from regbench.lazy import lazily

if TYPE_CHECKING:
    from regbench.data.checks.check import check, fitting_protocol, found_scans
    from regbench.data.cohorts.cohort import Cohort, Points
    from regbench.data.cohorts.fingerprints import fingerprint
    from regbench.data.cohorts.loading import load_cohort, prepare
    from regbench.data.cohorts.phantoms import phantom_folder
    from regbench.data.cohorts.protocols import read_protocols
    from regbench.data.files.atomic import remove_folder, replacing_file, replacing_folder, write_bytes, write_text
    from regbench.data.files.fields import read_field, write_field
    from regbench.data.files.folders import cache_folder
    from regbench.data.files.itk import write_itk_field
    from regbench.data.files.landmarks import read_landmarks
    from regbench.data.files.nifti import read_volume, write_volume
else:
    __getattr__ = lazily(__name__)

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
