"""The training loop, and what a registration network is trained by."""
