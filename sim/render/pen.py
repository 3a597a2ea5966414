"""Writing on a frame."""

from __future__ import annotations

import pygame

from sim.render.palette import PANEL, Colour

SIZES = (20, 24)
"""Of letters [px]."""


class Pen:
    """Writes on a surface, in letters of `SIZES`, and darkens what lies below."""

    def __init__(self, surface: pygame.Surface):
        pygame.font.init()  # highway-env quits pygame, and its fonts, whenever one of its viewers is closed
        self.surface = surface
        self._fonts = {size: pygame.font.Font(None, size) for size in SIZES}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the surface [px]."""
        return self.surface.get_size()

    def measure(self, text: str, size: int) -> tuple[int, int]:
        """Returns width and height of a text [px]."""
        return self._fonts[size].size(text)

    def write(self, text: str, place: tuple[int, int], size: int, colour: Colour) -> int:
        """Writes `text` and returns its right end [px]."""
        image = self._fonts[size].render(text, True, colour)
        self.surface.blit(image, place)
        return place[0] + image.get_width()

    def panel(self, rectangle: pygame.Rect, colour: tuple[int, int, int, int] = PANEL) -> None:
        """Darkens a rectangle."""
        panel = pygame.Surface(rectangle.size, pygame.SRCALPHA)
        panel.fill(colour)
        self.surface.blit(panel, rectangle)
