"""The tasks: where the scans of a cohort lie, and the frozen protocols that say which pairs are registered."""
