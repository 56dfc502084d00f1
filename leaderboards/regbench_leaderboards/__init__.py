"""Numbers that ship with regbench: published ones with their sources, and measured boards."""
