"""Pure functions: a field and labels in, numbers out; and the metrics that are registered."""
