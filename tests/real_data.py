"""Where the real scans lie that are not part of the repository: in ../shared/data beside the checkout, if anywhere."""

from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def abdomen_ct() -> Path:
    """The 20-case abdominal CT sample; skips the test where it is absent."""
    return _folder("abdomen_ct")


def acdc() -> Path:
    """The 30-patient cardiac MR sample; skips the test where it is absent."""
    return _folder("acdc")


def _folder(name: str) -> Path:
    folder = _DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real scans of {name} are not here (looked in ../shared/data beside the checkout)")
    return folder
