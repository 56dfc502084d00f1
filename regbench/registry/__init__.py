"""Plugins by entry point, and their configuration."""

from regbench.registry.configure import FieldInfo, changed, check_fields, configuration, configure, fields, set_up
from regbench.registry.plugins import GROUPS, NOUNS, Kind, Plugin, Registry

__all__ = [
    "GROUPS",
    "NOUNS",
    "FieldInfo",
    "Kind",
    "Plugin",
    "Registry",
    "changed",
    "check_fields",
    "configuration",
    "configure",
    "fields",
    "set_up",
]
