"""Names that are imported when they are first asked for."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["regbench.api", "regbench.data"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_no_other(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'lazily_made'"):
        _ = module.lazily_made


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_before_it_is_asked_for(package: str) -> None:
    program = f"import sys, {package}; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - a fixed command line
