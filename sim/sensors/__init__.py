"""Cameras, rasters and range scans of a batch of worlds, rendered on the device that simulates them."""
