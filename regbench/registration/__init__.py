"""Two scans of anybody's: brought onto a method's grid, registered, and brought back to the fixed scan's own."""

from regbench.registration.files import label_type, read_own, write_like
from regbench.registration.masks import with_source_masks
from regbench.registration.method import Registrar, mask_labels_of, registrar_of_method, registrar_of_run
from regbench.registration.pair import OwnScans, Preparation, Presented, Registration, present, register_own

__all__ = [
    "OwnScans",
    "Preparation",
    "Presented",
    "Registrar",
    "Registration",
    "label_type",
    "mask_labels_of",
    "present",
    "read_own",
    "register_own",
    "registrar_of_method",
    "registrar_of_run",
    "with_source_masks",
    "write_like",
]
