"""Published numbers with their sources, as package data; nothing here was measured by regbench."""

from regbench_leaderboards.published import PublishedNumber, footnotes, published

__all__ = ["PublishedNumber", "footnotes", "published"]
