"""Draws a world from above as a person wants to see it: into an array without a display, or a window."""

from sim.render.hud import HUD_HEIGHT, Hud
from sim.render.marks import Mark
from sim.render.minimap import Chart, Minimap
from sim.render.palette import (
    ASPHALT,
    CRASHED,
    CRITICAL,
    DIM_TEXT,
    EGO,
    GRASS,
    LANDMARK,
    NEAR,
    OBSTACLE,
    PAINT,
    PANEL,
    PARKED,
    PLAN,
    REACHED,
    SAFE,
    SEEN,
    SHOULDER,
    TEXT,
    TRAFFIC,
    TRAIL,
    Colour,
)
from sim.render.panels import Inset, Panel, Row, ScaleBar, Table
from sim.render.renderer import Drawing, Renderer
from sim.render.view import View
from sim.render.window import NoDisplayError, Window

__all__ = [
    "ASPHALT",
    "CRASHED",
    "CRITICAL",
    "DIM_TEXT",
    "EGO",
    "GRASS",
    "HUD_HEIGHT",
    "LANDMARK",
    "NEAR",
    "OBSTACLE",
    "PAINT",
    "PANEL",
    "PARKED",
    "PLAN",
    "REACHED",
    "SAFE",
    "SEEN",
    "SHOULDER",
    "TEXT",
    "TRAFFIC",
    "TRAIL",
    "Chart",
    "Colour",
    "Drawing",
    "Hud",
    "Inset",
    "Mark",
    "Minimap",
    "NoDisplayError",
    "Panel",
    "Renderer",
    "Row",
    "ScaleBar",
    "Table",
    "View",
    "Window",
]
