"""The road surface under a point, for every picture."""
