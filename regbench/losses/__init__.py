"""Pure functions: similarity, smoothness and overlap, differentiable in the field."""
