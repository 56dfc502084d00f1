"""The command line. Commands import what they need when they are called, so that `--help` answers at once."""

from regbench.cli.app import app

__all__ = ["app"]
