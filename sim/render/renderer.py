"""Draws a world from above into an array, without a display, or shows it in a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pygame

from sim.engine.vehicles import LENGTH, WIDTH
from sim.render.figures import CAR_BODY, CAR_CABIN, CAR_ROOF, box, placed, rectangle
from sim.render.hud import Hud, draw_hud
from sim.render.marks import Mark, draw_labels, draw_marks
from sim.render.palette import (
    ASPHALT,
    BRAKE_LIGHT,
    CRASHED,
    EGO,
    GLASS,
    GRASS,
    HEADLIGHT,
    LANDMARK,
    OBSTACLE,
    PAINT,
    PARKED,
    REACHED,
    SHOULDER,
    TAIL_LIGHT,
    TRAFFIC,
    Colour,
    shade,
)
from sim.render.panels import Panel, draw_panels
from sim.render.pen import Pen
from sim.render.view import View
from sim.render.window import Window
from sim.road_shapes import ASPHALT_MARGIN, SHOULDER_MARGIN, RoadShapes
from sim.sensors.camera.bodies import GOAL_MARGIN
from sim.sensors.camera.things import BRAKING
from sim.world import Kind

SUPERSAMPLING = 2
"""Frames are drawn this many times larger and scaled down: smooth edges."""
Drawing = Mark | Panel
"""What may be drawn besides the world and the writing: over its things, or in a corner."""


class Renderer:
    """Draws frames of one road network with a camera that follows the first ego.

    Args:
        network: anything whose `lanes` have `position(s, lateral)`, `length`, `width` and `line_types`.
        width, height: of the frames [px]. scaling: [px/m].
        centering: where in the frame the ego stands, as shares of width and height.
    """

    def __init__(
        self,
        network: Any,
        width: int = 1200,
        height: int = 320,
        scaling: float = 7.0,
        centering: tuple[float, float] = (0.3, 0.5),
    ):
        if width < 16 or height < 16 or scaling <= 0:
            raise ValueError(
                f"a frame needs at least 16 x 16 px and a positive scaling, got {width} x {height}, {scaling}"
            )
        self.size, self.scaling, self.centering = (int(width), int(height)), float(scaling), centering
        self.shapes = RoadShapes(network.lanes)
        self._car_park = self.shapes.car_park()
        self._canvas = pygame.Surface((self.size[0] * SUPERSAMPLING, self.size[1] * SUPERSAMPLING))
        self._frame = pygame.Surface(self.size)
        self._window: Window | None = None

    def draw(self, world: Any, index: int = 0, hud: Hud | None = None, drawings: Sequence[Drawing] = ()) -> np.ndarray:
        """Returns world `index` as an image, uint8 [height, width, 3].

        Args:
            world: state tensors.
            index: which of its worlds.
            hud: what to write along the edges.
            drawings: marks over or under its things, and panels in the corners.

        Raises:
            ValueError: the panels do not fit into the frame.
        """
        names = ("x", "y", "heading", "length", "width", "acceleration", "kind", "crashed", "ego")
        state = {name: getattr(world, name)[index].cpu().numpy() for name in names}
        ego = int(state["ego"][0])
        marks = [one for one in drawings if isinstance(one, Mark)]
        self._view = View.at(
            float(state["x"][ego]),
            float(state["y"][ego]),
            self.scaling * SUPERSAMPLING,
            self._canvas.get_size(),
            self.centering,
        )
        self._canvas.fill(GRASS)
        self._draw_road(state)
        draw_marks(self._canvas, self._view, [mark for mark in marks if mark.under], SUPERSAMPLING)
        self._draw_things(state)
        draw_marks(self._canvas, self._view, [mark for mark in marks if not mark.under], SUPERSAMPLING)
        pygame.transform.smoothscale(self._canvas, self.size, self._frame)
        panels = [one for one in drawings if not isinstance(one, Mark)]
        if hud is not None or drawings:
            pen = Pen(self._frame)
            draw_labels(pen, self._view, marks, SUPERSAMPLING)
            above, below = draw_hud(pen, hud) if hud is not None else (0, 0)
            draw_panels(pen, View(self._view.origin, self.scaling, self.size), panels, above, below)
        return np.ascontiguousarray(pygame.surfarray.array3d(self._frame).swapaxes(0, 1))

    def show(
        self, image: np.ndarray | None = None, handle: Callable[[pygame.event.Event], object] | None = None
    ) -> bool:
        """Shows the last frame, or another image, in a window; returns False once a person closed it.

        Events of the window and the keyboard are handed to `handle`. Raises NoDisplayError where there is no display.
        """
        frame = self._frame if image is None else pygame.surfarray.make_surface(image.swapaxes(0, 1))
        if self._window is None:
            self._window = Window(frame.get_size())
        if not self._window.hear(handle):
            self.close()
            return False
        self._window.show(frame)
        return True

    def hear(self, handle: Callable[[pygame.event.Event], object]) -> bool:
        """Hands what happened to the window to `handle`; returns False once a person closed it."""
        if self._window is not None and not self._window.hear(handle):
            self.close()
            return False
        return True

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _fill(self, colour: Colour, points: np.ndarray) -> None:
        pygame.draw.polygon(self._canvas, colour, self._view.pixels(points).tolist())

    def _draw_road(self, state: dict[str, np.ndarray]) -> None:
        layers = [(SHOULDER, SHOULDER_MARGIN), (ASPHALT, ASPHALT_MARGIN)]
        if self._car_park is not None:
            # Bays say nothing of the ground between them: it is paved, as far as the walls if there are any.
            walls = state["kind"] == Kind.OBSTACLE
            corners = np.concatenate([self._car_park, np.stack([state["x"], state["y"]], axis=-1)[walls]])
            self._fill(ASPHALT, rectangle(corners.min(axis=0), corners.max(axis=0)))
            layers = []
        visible = list(self.shapes.visible(self._view.centre, self._view.radius))
        # Layer by layer over all lanes, so that the shoulder of one lane never covers the asphalt of another.
        for colour, margin in layers:
            for lane, start, end in visible:
                self._fill(colour, self.shapes.ribbon(lane, start, end, margin))
        for lane, start, end in visible:
            for stroke in self.shapes.markings(lane, start, end):
                self._fill(PAINT, stroke)

    def _draw_things(self, state: dict[str, np.ndarray]) -> None:
        position = np.stack([state["x"], state["y"]], axis=-1)
        near = np.hypot(*(position - self._view.centre).T) < self._view.radius + np.maximum(
            state["length"], state["width"]
        )
        slots = np.flatnonzero(near & (state["kind"] != Kind.ABSENT))
        egos = set(state["ego"].tolist())
        # Objects lie under vehicles, and egos are on top.
        for slot in sorted(slots, key=lambda s: (state["kind"][s] < Kind.OBSTACLE, s in egos)):
            kind, pose, crashed = state["kind"][slot], (position[slot], float(state["heading"][slot])), state["crashed"]
            if kind >= Kind.OBSTACLE:
                size = (float(state["length"][slot]), float(state["width"][slot]))
                self._draw_object(pose, size, kind == Kind.LANDMARK, bool(crashed[slot]))
                continue
            body = PARKED if kind == Kind.PARKED else TRAFFIC[slot % len(TRAFFIC)]
            body = EGO if slot in egos else body
            roof = shade(body, 1.12)  # A crashed ego keeps its green roof.
            body = CRASHED if crashed[slot] else body
            self._draw_car(
                pose,
                body,
                roof if slot in egos else shade(body, 1.12),
                state["acceleration"][slot] < BRAKING,
            )

    def _draw_object(
        self, pose: tuple[np.ndarray, float], size: tuple[float, float], landmark: bool, hit: bool
    ) -> None:
        """A solid box; a landmark also gets a frame, which a car that stands on it does not hide."""
        colour = (REACHED if hit else LANDMARK) if landmark else (CRASHED if hit else OBSTACLE)
        self._fill(shade(colour, 0.62), placed(box(*size), *pose))
        self._fill(colour, placed(box(*(max(side - 0.2, side / 2) for side in size)), *pose))
        if landmark:
            frame = self._view.pixels(placed(box(LENGTH + 2 * GOAL_MARGIN, WIDTH + 2 * GOAL_MARGIN), *pose))
            pygame.draw.polygon(self._canvas, colour, frame.tolist(), max(1, round(0.25 * self._view.scale)))

    def _draw_car(self, pose: tuple[np.ndarray, float], body: Colour, roof: Colour, braking: bool) -> None:
        position, heading = pose
        self._fill(shade(ASPHALT, 0.62), placed(CAR_BODY, position + 0.22, heading))
        self._fill(shade(body, 0.55), placed(CAR_BODY * 1.035, position, heading))
        self._fill(body, placed(CAR_BODY, position, heading))
        self._fill(GLASS, placed(CAR_CABIN, position, heading))
        self._fill(roof, placed(CAR_ROOF, position, heading))
        tail = BRAKE_LIGHT if braking else TAIL_LIGHT
        for side in (-1.0, 1.0):
            self._fill(HEADLIGHT, placed(box(0.3, 0.42, 2.3, 0.68 * side), position, heading))
            self._fill(tail, placed(box(0.22, 0.46, -2.36, 0.68 * side), position, heading))
