"""Plots of a page, as vector drawings."""
