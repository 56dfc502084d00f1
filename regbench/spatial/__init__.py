"""Pure functions on grids: warp, compose, integrate, invert, resample, and the Jacobian determinant."""
