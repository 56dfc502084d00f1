"""Mask sources."""
