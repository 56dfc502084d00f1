"""Train, evaluate, checkpoint and resume."""
