"""Published numbers with their sources, and the runs that regbench was released with, as package data."""

from regbench_leaderboards.measured import measured_runs
from regbench_leaderboards.published import PublishedNumber, footnotes, published

__all__ = ["PublishedNumber", "footnotes", "measured_runs", "published"]
