"""Synthetic cohorts with a known field, written in the official layouts.

Each patient (or each heart phase) is a smooth invertible map of one analytic anatomy. Image, label map and landmarks
are evaluations of the same functions through that map, so that the correspondence between two scans is exact.
"""
