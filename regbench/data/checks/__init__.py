"""Every fault of a folder of scans, found before anything is run."""
