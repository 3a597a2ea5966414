"""The cameras that the driving stack carries: all around without a gap, and one that sees far ahead."""

from __future__ import annotations

from sim.sensors.camera.cameras import preset

WIDTH, HEIGHT = 320, 192
"""Size of the pictures [px]."""
SURROUND = tuple(preset("surround", width=WIDTH, height=HEIGHT))
"""What detectors learn from."""
FRONT, LEFT, RIGHT, REAR = SURROUND
(FAR,) = preset("far", width=WIDTH, height=HEIGHT)
"""Shows things 2.9 times as large as `FRONT`: what is 12 px high there at 26 m is so here at 75 m."""
RIG = (*SURROUND, FAR)
