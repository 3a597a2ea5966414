"""A window that shows frames and hears keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pygame

WINDOWLESS_DRIVERS = ("", "offscreen", "dummy", "evdev")
"""SDL video drivers that draw where nobody can see it; SDL falls back to one when there is no display."""
NO_DISPLAY = "no display to show a window on; write to a file instead"


class NoDisplayError(OSError):
    """A window was asked for where there is no display."""


class Window:
    """A window; NoDisplayError where there is no display.

    Args:
        size: width and height [px].
    """

    def __init__(self, size: tuple[int, int]):
        self._surface = _open_window(size)

    def hear(self, handle: Callable[[pygame.event.Event], object] | None = None) -> bool:
        """Hands every event since the last time to `handle`; returns False once a person closed the window."""
        for event in pygame.event.get():
            key = event.key if event.type == pygame.KEYDOWN else None
            if event.type == pygame.QUIT or key in (pygame.K_ESCAPE, pygame.K_q):
                return False
            if handle is not None:
                handle(event)
        return True

    def show(self, frame: pygame.Surface) -> None:
        """Shows a frame."""
        self._surface.blit(frame, (0, 0))
        pygame.display.flip()

    def close(self) -> None:
        """Closes the window."""
        pygame.display.quit()


def _open_window(size: tuple[int, int]) -> pygame.Surface:
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform.startswith("linux") and not any(map(os.environ.get, displays)):
        # SDL would find out too, but only after a complaint of its own on stderr.
        raise NoDisplayError(NO_DISPLAY)
    if pygame.display.get_init() and pygame.display.get_driver() in WINDOWLESS_DRIVERS:
        pygame.display.quit()  # highway-env's viewer has drawn without one; SDL keeps the driver it began with
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as error:
        raise NoDisplayError(f"no display to show a window on ({error}); write to a file instead") from error
    if driver in WINDOWLESS_DRIVERS and driver != os.environ.get("SDL_VIDEODRIVER"):
        pygame.display.quit()
        raise NoDisplayError(NO_DISPLAY)
    window = pygame.display.set_mode(size)
    pygame.display.set_caption("Slipstream")
    return window
