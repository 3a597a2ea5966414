"""highway-env's own viewer, pixel for pixel."""
