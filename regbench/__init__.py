"""regbench: a benchmark suite with a baseline zoo for deformable medical image registration."""

from importlib.metadata import version

__version__ = version("regbench")
