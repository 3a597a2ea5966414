"""The cameras that the driving stack carries: all around without a gap, and one that sees far ahead."""

from __future__ import annotations

from sim.sensors.camera.cameras import Camera

WIDTH, HEIGHT = 320, 192
"""Size of the pictures [px]."""
FRONT = Camera("front", WIDTH, HEIGHT, fov=75.0, x=1.0)
LEFT = Camera("left", WIDTH, HEIGHT, fov=100.0, x=0.0, yaw=-85.0)
RIGHT = Camera("right", WIDTH, HEIGHT, fov=100.0, x=0.0, yaw=85.0)
REAR = Camera("rear", WIDTH, HEIGHT, fov=95.0, x=-1.0, yaw=180.0)
SURROUND = (FRONT, LEFT, RIGHT, REAR)
"""What detectors learn from."""
FAR = Camera("far", WIDTH, HEIGHT, fov=30.0, x=1.0)
"""Shows things 2.9 times as large as `FRONT`: what is 12 px high there at 26 m is so here at 75 m."""
RIG = (*SURROUND, FAR)
