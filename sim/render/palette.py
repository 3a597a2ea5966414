"""The colours of the human view."""

from __future__ import annotations

Colour = tuple[int, int, int]

GRASS: Colour = (104, 140, 88)
SHOULDER: Colour = (142, 140, 132)
ASPHALT: Colour = (86, 89, 94)
PAINT: Colour = (236, 236, 230)
EGO: Colour = (62, 190, 92)
CRASHED: Colour = (222, 66, 58)
TRAFFIC: tuple[Colour, ...] = (
    (92, 158, 222),
    (70, 132, 200),
    (122, 180, 230),
    (82, 116, 186),
    (104, 168, 204),
)
PARKED: Colour = (176, 180, 184)
OBSTACLE: Colour = (232, 150, 50)
LANDMARK: Colour = (72, 128, 250)
REACHED: Colour = (170, 255, 110)
"""A landmark that a vehicle has hit."""
GLASS: Colour = (34, 42, 52)
HEADLIGHT: Colour = (255, 246, 190)
TAIL_LIGHT: Colour = (120, 24, 24)
BRAKE_LIGHT: Colour = (255, 48, 40)
TEXT: Colour = (244, 244, 244)
DIM_TEXT: Colour = (176, 182, 190)
GROOVE: Colour = (70, 76, 84)
"""What a bar or a dial moves in."""
PANEL = (18, 22, 28, 190)
CRITICAL: Colour = (255, 70, 60)
"""In danger, or below a metric's critical value."""
NEAR: Colour = (255, 196, 60)
SAFE: Colour = (150, 230, 160)
SEEN: Colour = (250, 240, 120)
"""What a driver was shown."""
PLAN: Colour = (120, 230, 250)
"""Where a driver means to go."""
TRAIL: Colour = (214, 226, 240)
"""Where the traffic has been."""


def shade(colour: Colour, factor: float) -> Colour:
    """Returns a colour made brighter or darker."""
    return tuple(min(255, int(channel * factor)) for channel in colour)
