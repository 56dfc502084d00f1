"""The runs that a release brings along: records, cases and histories, in the layout of a folder of runs."""

from pathlib import Path


def measured_runs() -> Path:
    """The folder of runs; no scans and no weights are in it."""
    return Path(__file__).parent / "measured"
