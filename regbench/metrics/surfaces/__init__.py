"""Distances between the surfaces of labels: cells, areas, distances, percentiles."""
