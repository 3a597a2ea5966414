"""Pinhole cameras on vehicles: pictures, depth, classes, instances and labels."""
