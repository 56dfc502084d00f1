"""A plugin whose import fails."""

raise RuntimeError("the toy is broken")
