"""Where what can be made again is kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The folder of everything that is made once and used again: REGBENCH_CACHE if set, else the user's cache."""
    chosen = os.environ.get("REGBENCH_CACHE")
    return Path(chosen) if chosen else user_cache_path("regbench")
