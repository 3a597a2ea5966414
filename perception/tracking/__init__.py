"""Tracking: identities, velocities and covariances of what detectors find, and how good they are."""
