"""Data that lie further down than the folder that was named, as archives unpack."""

from pathlib import Path

_LEVELS = ("*", "*/*", "*/*/*")


def first_below(folder: Path, pattern: str) -> Path | None:
    """The first match one to three folders further down: no deeper, as a folder named by mistake may be a whole disk.

    Args:
        folder: without such a match of its own.
        pattern: of the path below, as `Path.glob` has it.
    """
    return next((path for level in _LEVELS for path in sorted(folder.glob(f"{level}/{pattern}"))), None)
