"""Pictures of registered pairs."""
