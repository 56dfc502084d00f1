"""Train, evaluate, checkpoint and resume."""

from regbench.engine.devices import asked_device, machine, resolve_device
from regbench.engine.evaluation.evaluate import evaluate
from regbench.engine.evaluation.refinement import refine, refining
from regbench.engine.evaluation.scoring import case_of, score_fields
from regbench.engine.masks import add_masks
from regbench.engine.plan import Chosen, Plan
from regbench.engine.precision import usual_precision
from regbench.engine.proof.reopening import Reopened, reopen
from regbench.engine.proof.verification import Verdict, verify
from regbench.engine.records.run_id import data_fingerprint, run_id
from regbench.engine.running import run
from regbench.engine.training.checkpoint import Best, State, load_weights
from regbench.engine.training.course import Course
from regbench.engine.training.loop import fit
from regbench.engine.training.train import new_network

__all__ = [
    "Best",
    "Chosen",
    "Course",
    "Plan",
    "Reopened",
    "State",
    "Verdict",
    "add_masks",
    "asked_device",
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
