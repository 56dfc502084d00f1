"""Train, evaluate, checkpoint and resume."""

from regbench.engine.plan import Chosen, Plan
from regbench.engine.progress import Phase, Progress, Silent, Tick
from regbench.engine.run import run

__all__ = ["Chosen", "Phase", "Plan", "Progress", "Silent", "Tick", "run"]
