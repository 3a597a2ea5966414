"""Detectors: a one-stage network of ours and Faster R-CNN, behind one interface."""
