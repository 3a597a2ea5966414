"""Figures over, or under, the things of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pygame

from sim.render.palette import Colour
from sim.render.pen import Pen
from sim.render.view import View


@dataclass(frozen=True)
class Mark:
    """A figure drawn over the things of a frame.

    Attributes:
        points: [n, 2] in the world [m]; n of 1 draws no figure but the label alone.
        colour: of lines and letters.
        closed: is it an outline; else a line. width: of the line [px]; 0 fills an outline.
        label: written beside the first point.
        alpha: how much of what lies below it covers, 0 to 1; translucent figures don't add up where they overlap.
        under: lies on the road, below vehicles and objects.
    """

    points: np.ndarray
    colour: Colour
    closed: bool = True
    width: int = 2
    label: str = ""
    alpha: float = 1.0
    under: bool = False


def draw_marks(canvas: pygame.Surface, view: View, marks: Sequence[Mark], line: int) -> None:
    """Draws the figures, the translucent ones first; `line` times their width [px]."""
    drawn = [mark for mark in marks if len(mark.points) > 1]
    veiled = [mark for mark in drawn if mark.alpha < 1]
    if veiled:
        layer = pygame.Surface(canvas.get_size(), pygame.SRCALPHA)
        for mark in veiled:
            _draw(layer, view, mark, (*mark.colour, round(255 * mark.alpha)), line)
        canvas.blit(layer, (0, 0))
    for mark in drawn:
        if mark.alpha >= 1:
            _draw(canvas, view, mark, mark.colour, line)


def _draw(surface: pygame.Surface, view: View, mark: Mark, colour: tuple[int, ...], line: int) -> None:
    points, width = view.pixels(mark.points).tolist(), mark.width * line
    if mark.closed and len(points) > 2:
        pygame.draw.polygon(surface, colour, points, width)
    else:
        pygame.draw.lines(surface, colour, False, points, max(1, width))


def draw_labels(pen: Pen, view: View, marks: Sequence[Mark], line: int) -> None:
    """Writes the labels, each on a panel of its own; `view` is in pixels `line` times smaller than a frame's."""
    for mark in marks:
        if mark.label:
            x, y = view.pixels(mark.points[0]) / line
            width, height = pen.measure(mark.label, 20)
            place = (round(float(x) - width / 2), round(float(y) - height / 2))
            pen.panel(pygame.Rect(place[0] - 3, place[1] - 2, width + 6, height + 3))
            pen.write(mark.label, place, 20, mark.colour)
