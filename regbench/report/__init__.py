"""One page for a board: tables that can be sorted, plots, statistics, pictures; it needs no network."""

from regbench.report.page import page
from regbench.report.writing import report, write_page

__all__ = ["page", "report", "write_page"]
