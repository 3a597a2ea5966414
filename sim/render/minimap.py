"""The whole network in a corner, with everyone on it and what the frame shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pygame

from sim.render.palette import ASPHALT, CRASHED, EGO, OBSTACLE, PAINT, PANEL, PARKED, TEXT, TRAFFIC, Colour
from sim.render.panels import Corner
from sim.render.pen import Pen
from sim.render.view import View
from sim.road_shapes import RoadShapes
from sim.world import Kind

MARGIN = 6
"""Between the network and the panel's edge [px]."""
LEAST = 26
"""Least height of the map [px]: a long straight road is stretched across to it."""
DOT = 2.2
"""Radius of a vehicle [px]."""
FINE = 3
"""The map is drawn this many times larger and scaled down: smooth edges."""


class Chart:
    """A network drawn small, once.

    Args:
        network: as a `Renderer` takes it.
        room: the greatest width and height [px].
    """

    def __init__(self, network: Any, room: tuple[int, int] = (256, 150)):
        shapes = RoadShapes(network.lanes)
        outlines = [shapes.ribbon(lane, 0.0, table[-1, 0], 0.5) for lane, table in enumerate(shapes.tables)]
        points = np.concatenate(outlines)
        self.low, self.high = points.min(axis=0), points.max(axis=0)
        extent = self.high - self.low
        scale = min((room[axis] - 2 * MARGIN) / extent[axis] for axis in (0, 1))
        self.scale = np.maximum(scale, [0.0, (LEAST - 2 * MARGIN) / extent[1]])
        self.size = tuple(int(side) for side in np.ceil(extent * self.scale) + 2 * MARGIN)
        self.picture = pygame.Surface((self.size[0] * FINE, self.size[1] * FINE))
        self.picture.fill(PANEL[:3])
        corners = [(self.pixels(outline) * FINE).tolist() for outline in outlines]
        for shape in corners:  # a light edge, so that roads stand out
            pygame.draw.lines(self.picture, PAINT, True, shape, 2 * FINE)
        for shape in corners:
            pygame.draw.polygon(self.picture, ASPHALT, shape)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """World points [..., 2] in m to pixels of the map."""
        return (points - self.low) * self.scale + MARGIN

    def larger_than(self, extent: np.ndarray) -> bool:
        """Is the network longer or wider than a frame of this extent [m]."""
        return bool(((self.high - self.low) > extent).any())


@dataclass(frozen=True)
class Minimap:
    """A chart with the things of a world on it.

    Attributes:
        chart: of the network. world: state tensors; index: which of its worlds. corner: where it stands.
    """

    chart: Chart
    world: Any
    index: int = 0
    corner: Corner = "bottom right"
    title: str = ""

    def size(self, pen: Pen, view: View) -> tuple[int, int]:
        """Returns width and height [px]."""
        return self.chart.size

    def draw(self, pen: Pen, view: View, place: tuple[int, int]) -> None:
        """Draws roads, a dot for each vehicle and a frame around what is seen large."""
        fine = self.chart.picture.copy()
        corners = self.chart.pixels(np.array([view.origin, view.origin + view.extent]))
        (left, top), (right, bottom) = np.clip(corners, 1, np.array(self.chart.size) - 1) * FINE
        frame = pygame.Rect(round(left), round(top), max(2 * FINE, round(right - left)), round(bottom - top))
        pygame.draw.rect(fine, TEXT, frame, FINE)
        for spot, colour, radius in self._dots():
            pygame.draw.circle(fine, colour, (self.chart.pixels(spot) * FINE).tolist(), radius * FINE)
        pen.surface.blit(pygame.transform.smoothscale(fine, self.chart.size), place)

    def _dots(self) -> list[tuple[np.ndarray, Colour, float]]:
        """Places [m], colours and radii [px], the egos last."""
        names = ("x", "y", "kind", "crashed", "ego")
        x, y, kind, crashed, ego = (getattr(self.world, name)[self.index].cpu().numpy() for name in names)
        egos, dots = set(ego.tolist()), []
        for slot in sorted(np.flatnonzero(kind != Kind.ABSENT).tolist(), key=lambda slot: slot in egos):
            if slot in egos:
                colour = EGO
            elif kind[slot] >= Kind.OBSTACLE:
                colour = OBSTACLE
            else:
                colour = PARKED if kind[slot] == Kind.PARKED else TRAFFIC[0]
            colour = CRASHED if crashed[slot] and slot not in egos else colour
            dots.append((np.array([x[slot], y[slot]]), colour, DOT + 0.8 * (slot in egos)))
        return dots
