"""From a folder of scans to a cohort on the device."""
