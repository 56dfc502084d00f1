"""Train, evaluate, checkpoint and resume."""

from regbench.engine.checkpoint import Best, State, load_weights
from regbench.engine.course import Course
from regbench.engine.devices import machine, resolve_device, usual_precision
from regbench.engine.evaluation import case_of, evaluate
from regbench.engine.identity import data_fingerprint, run_id
from regbench.engine.loop import fit
from regbench.engine.masks import add_masks
from regbench.engine.plan import Chosen, Plan
from regbench.engine.progress import Phase, Progress, Silent, Tick
from regbench.engine.refinement import refine, refining
from regbench.engine.reopening import Reopened, reopen
from regbench.engine.running import run
from regbench.engine.scoring import score_fields
from regbench.engine.training import new_network
from regbench.engine.verification import Verdict, verify

__all__ = [
    "Best",
    "Chosen",
    "Course",
    "Phase",
    "Plan",
    "Progress",
    "Reopened",
    "Silent",
    "State",
    "Tick",
    "Verdict",
    "add_masks",
    "case_of",
    "data_fingerprint",
    "evaluate",
    "fit",
    "load_weights",
    "machine",
    "new_network",
    "refine",
    "refining",
    "reopen",
    "resolve_device",
    "run",
    "run_id",
    "score_fields",
    "usual_precision",
    "verify",
]
