"""Every installed plugin keeps to its contract."""

import pytest

from regbench.errors import RequestError
from regbench.registry import Kind, Registry
from regbench.testing import check_plugin

# A segmentation network is trained for that, which tests/masks does; here it would take the time of all others.
SLOW = {("masks", "segmenter")}


def installed() -> list[tuple[Kind, str]]:
    registry = Registry()
    kinds: tuple[Kind, ...] = ("method", "metric", "masks", "task")
    return [(kind, name) for kind in kinds for name in registry.names(kind) if (kind, name) not in SLOW]


@pytest.mark.parametrize(("kind", "name"), installed())
def test_contract(kind: Kind, name: str) -> None:
    plugin = Registry().load(kind, name)
    try:
        faults = check_plugin(kind, plugin)
    except RequestError as error:
        pytest.skip(str(error))
    assert faults == []
