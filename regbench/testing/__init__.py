"""Does a plugin keep to its contract?

For authors, in their own tests:

```python
from regbench.testing import check_method

def test_contract():
    assert check_method(MyMethod) == []
```

Each check gives a list of faults, one sentence each; an empty one is good. They run on a CPU in seconds.
"""

from collections.abc import Callable, Mapping
from typing import Any

from regbench.registry import Kind
from regbench.testing.masks import check_masks
from regbench.testing.method import check_method
from regbench.testing.metric import check_metric
from regbench.testing.task import check_task

__all__ = ["check_masks", "check_method", "check_metric", "check_plugin", "check_task"]

_CHECKS: Mapping[Kind, Callable[[Any], list[str]]] = {
    "method": check_method,
    "task": check_task,
    "metric": check_metric,
    "masks": check_masks,
}


def check_plugin(kind: Kind, plugin: Any) -> list[str]:
    """The faults of a plugin of any kind.

    Args:
        kind: of the plugin.
        plugin: its class, an instance, or its name in the registry.
    """
    return _CHECKS[kind](plugin)
