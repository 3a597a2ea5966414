"""The cameras that the driving stack carries and its detectors learn from: all around, without a gap."""

from __future__ import annotations

from sim.sensors.camera.cameras import Camera

WIDTH, HEIGHT = 320, 192
"""Size of the pictures [px]."""
FRONT = Camera("front", WIDTH, HEIGHT, fov=75.0, x=1.0)
LEFT = Camera("left", WIDTH, HEIGHT, fov=100.0, x=0.0, yaw=-85.0)
RIGHT = Camera("right", WIDTH, HEIGHT, fov=100.0, x=0.0, yaw=85.0)
REAR = Camera("rear", WIDTH, HEIGHT, fov=95.0, x=-1.0, yaw=180.0)
SURROUND = (FRONT, LEFT, RIGHT, REAR)
