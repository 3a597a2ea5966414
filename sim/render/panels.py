"""Panels in the corners of a frame: pictures inside the picture, tables of figures, a scale bar."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pygame

from sim.render.palette import DIM_TEXT, TEXT, Colour
from sim.render.pen import Pen
from sim.render.view import View

Corner = Literal["top left", "top right", "bottom left", "bottom right"]
GAP = 8
"""Between panels, and from the edges of the frame [px]."""
HEADING = 22
"""Height of a panel's title [px]."""
LINE = 19
"""Height of a line of a table [px]."""
SHORTEST_BAR = 60
"""Of a scale bar [px]; it is at most 2.5 times as long."""
STRIP = 2.0
"""Of how many times its height a frame has the road across it, which panels below each other would cover."""


class Panel(Protocol):
    """Something in a corner of the frame."""

    corner: Corner

    def size(self, pen: Pen, view: View) -> tuple[int, int]:
        """Returns width and height [px]."""

    def draw(self, pen: Pen, view: View, place: tuple[int, int]) -> None:
        """Draws it at its upper left corner `place` [px]; `view` is what the frame shows."""


@dataclass(frozen=True)
class Inset:
    """A picture inside the picture.

    Attributes:
        image: uint8 [H, W, 3].
        title: written above it.
        room: its greatest width and height [px]: a smaller picture is enlarged a whole number of times, each pixel a
            square; a larger one is scaled down.
        corner: where it stands.
    """

    image: np.ndarray
    title: str = ""
    room: tuple[int, int] = (256, 192)
    corner: Corner = "top right"

    def _shown(self) -> tuple[int, int]:
        height, width = self.image.shape[:2]
        factor = min(self.room[0] / width, self.room[1] / height)
        factor = float(int(factor)) if factor >= 1 else factor
        return max(1, round(width * factor)), max(1, round(height * factor))

    def size(self, pen: Pen, view: View) -> tuple[int, int]:
        """Returns width and height [px], the frame around the picture included."""
        width, height = self._shown()
        return max(width, pen.measure(self.title, 20)[0] + 8) + 4, height + 4 + (HEADING if self.title else 0)

    def draw(self, pen: Pen, view: View, place: tuple[int, int]) -> None:
        """Draws the picture under its title."""
        pen.panel(pygame.Rect(place, self.size(pen, view)))
        top = place[1] + 2
        if self.title:
            pen.write(self.title, (place[0] + 6, top + 3), 20, DIM_TEXT)
            top += HEADING
        picture = pygame.surfarray.make_surface(self.image.swapaxes(0, 1))
        shown = self._shown()
        grown = shown[0] >= picture.get_width()
        scaled = (pygame.transform.scale if grown else pygame.transform.smoothscale)(picture, shown)
        pen.surface.blit(scaled, (place[0] + (self.size(pen, view)[0] - shown[0]) // 2, top))


@dataclass(frozen=True)
class Row:
    """A line of a table: a label, a value with its unit, and the value's colour."""

    label: str
    value: str
    colour: Colour = TEXT


@dataclass(frozen=True)
class Table:
    """Labelled figures under a title; as wide for any values as `width` [px] says."""

    rows: Sequence[Row]
    title: str = ""
    width: int = 196
    corner: Corner = "top left"

    def size(self, pen: Pen, view: View) -> tuple[int, int]:
        """Returns width and height [px]."""
        return self.width, LINE * len(self.rows) + 8 + (HEADING if self.title else 0)

    def draw(self, pen: Pen, view: View, place: tuple[int, int]) -> None:
        """Writes labels on the left and values on the right."""
        pen.panel(pygame.Rect(place, self.size(pen, view)))
        left, top = place[0] + 8, place[1] + 6
        if self.title:
            pen.write(self.title, (left, top), 20, TEXT)
            top += HEADING
        for row in self.rows:
            pen.write(row.label, (left, top), 20, DIM_TEXT)
            end = place[0] + self.width - 8
            pen.write(row.value, (end - pen.measure(row.value, 20)[0], top), 20, row.colour)
            top += LINE


@dataclass(frozen=True)
class ScaleBar:
    """How long a round number of metres is in the frame."""

    corner: Corner = "bottom left"

    def size(self, pen: Pen, view: View) -> tuple[int, int]:
        """Returns width and height [px]."""
        return self.length(view)[1] + 16, 34

    @staticmethod
    def length(view: View) -> tuple[float, int]:
        """Returns the metres and the pixels of the bar, with view's scale."""
        for metres in (scale * digit for scale in (0.1, 1.0, 10.0, 100.0, 1000.0) for digit in (1.0, 2.0, 5.0)):
            if metres * view.scale >= SHORTEST_BAR:
                break
        return metres, round(metres * view.scale)

    def draw(self, pen: Pen, view: View, place: tuple[int, int]) -> None:
        """Draws the bar with its ends and its length in words."""
        metres, pixels = self.length(view)
        pen.panel(pygame.Rect(place, self.size(pen, view)))
        left, bar = place[0] + 8, place[1] + 25
        pygame.draw.rect(pen.surface, TEXT, pygame.Rect(left, bar, pixels, 2))
        for end in (left, left + pixels - 2):
            pygame.draw.rect(pen.surface, TEXT, pygame.Rect(end, bar - 4, 2, 10))
        words = f"{metres:g} m"
        pen.write(words, (left + (pixels - pen.measure(words, 20)[0]) // 2, place[1] + 5), 20, TEXT)


def draw_panels(pen: Pen, view: View, panels: Sequence[Panel], above: int, below: int) -> list[pygame.Rect]:
    """Draws panels into their corners, next to one another where there are several; returns where.

    Args:
        pen: draws them.
        view: what the frame shows.
        panels: those of one corner in this order, from the corner on.
        above: what the writing takes of the frame's upper edge [px].
        below: what it takes of the lower one [px].

    Raises:
        ValueError: they do not fit into the frame beside each other.
    """
    width, height = pen.size
    taken: list[pygame.Rect] = []
    for panel in panels:
        size = panel.size(pen, view)
        area = pygame.Rect(GAP, above + GAP, width - 2 * GAP, height - above - below - 2 * GAP)
        place = _free(size, panel.corner, area, taken)
        if place is None:
            what = getattr(panel, "title", "") or type(panel).__name__
            raise ValueError(
                f"a frame of {width} x {height} px has no room for the panel {what!r} of {size[0]} x {size[1]} px: "
                "make it larger, or show fewer panels"
            )
        taken.append(place)
        panel.draw(pen, view, place.topleft)
    return taken


def _free(size: tuple[int, int], corner: Corner, area: pygame.Rect, taken: list[pygame.Rect]) -> pygame.Rect | None:
    """The place nearest to a corner that no other panel stands in: beside others in a strip, else below them."""
    vertical, horizontal = corner.split()
    steps_x, steps_y = {0}, {0}
    for other in taken:  # a panel may begin in the corner, or next to another one
        steps_y |= {other.bottom - area.top + GAP, area.bottom - other.top + GAP}
        steps_x |= {other.right - area.left + GAP, area.right - other.left + GAP}
    steps = itertools.product(sorted(steps_x), sorted(steps_y))
    strip = area.width > STRIP * area.height
    for aside, along in sorted(steps, key=lambda step: step[::-1] if strip else step):
        place = pygame.Rect((0, 0), size)
        place.left = area.left + aside if horizontal == "left" else area.right - aside - size[0]
        place.top = area.top + along if vertical == "top" else area.bottom - along - size[1]
        if area.contains(place) and place.inflate(2 * GAP - 2, 2 * GAP - 2).collidelist(taken) < 0:
            return place
    return None
