"""Perception: detectors, lanes, tracking and the metrics that judge them."""
