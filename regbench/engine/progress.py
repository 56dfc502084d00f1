"""What the engine tells while it works; mask sources tell the same."""

from regbench.api.progress import Phase, Progress, Silent, Tick

__all__ = ["Phase", "Progress", "Silent", "Tick"]
