"""Draws a world from above as a person wants to see it: into an array without a display, or a window."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pygame

from sim.engine.vehicles import LENGTH, WIDTH
from sim.road_shapes import RoadShapes
from sim.world import Kind

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
PANEL = (18, 22, 28, 190)

BRAKING = -1.0
"""Acceleration below which the brake lights shine [m/s2]."""
GOAL_MARGIN = 0.45
"""How far the frame around a landmark stands out on each side of a car parked on it [m]."""
HUD_HEIGHT = 56
"""What the writing may take of a frame, above and again below [px]."""
SUPERSAMPLING = 2
"""Frames are drawn this many times larger and scaled down: smooth edges."""
WINDOWLESS_DRIVERS = ("", "offscreen", "dummy", "evdev")
"""SDL video drivers that draw where nobody can see it; SDL falls back to one when there is no display."""


@dataclass(frozen=True)
class Hud:
    """What is written over a frame; anything left out is not drawn.

    Attributes:
        title: who drives where.
        time: seconds since the reset. speed: of the ego, or of each ego [m/s].
        reward, total: of the last policy step, and their sum so far.
        action: name of the action being carried out, or of each ego's. actions: the names of all actions, which
            get a cell each.
        scores: one figure an action; score_label: what they are, "probability" or "Q".
    """

    title: str = ""
    time: float | None = None
    speed: float | Sequence[float] | None = None
    reward: float | None = None
    total: float | None = None
    action: str | None = None
    actions: list[str] = field(default_factory=list)
    scores: np.ndarray | None = None
    score_label: str = ""


@dataclass(frozen=True)
class Mark:
    """A figure drawn over the things of a frame.

    Attributes:
        points: [n, 2] in the world [m]; n of 1 draws no figure but the label alone.
        colour: of lines and letters.
        closed: is it an outline; else a line. width: of the line [px]; 0 fills an outline.
        label: written beside the first point.
    """

    points: np.ndarray
    colour: Colour
    closed: bool = True
    width: int = 2
    label: str = ""


class NoDisplayError(RuntimeError):
    """A window was asked for where there is no display."""


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
        self._window: pygame.Surface | None = None

    def draw(self, world: Any, index: int = 0, hud: Hud | None = None, marks: Sequence[Mark] = ()) -> np.ndarray:
        """Returns world `index` as an image, uint8 [height, width, 3], with `marks` over its things."""
        names = ("x", "y", "heading", "length", "width", "acceleration", "kind", "crashed", "ego")
        state = {name: getattr(world, name)[index].cpu().numpy() for name in names}
        ego = int(state["ego"][0])
        self._look_at(float(state["x"][ego]), float(state["y"][ego]))
        self._canvas.fill(GRASS)
        self._draw_road(state)
        self._draw_things(state)
        for mark in marks:
            self._draw_mark(mark)
        pygame.transform.smoothscale(self._canvas, self.size, self._frame)
        for mark in marks:
            self._label(mark)
        if hud is not None:
            self._draw_hud(hud)
        return np.ascontiguousarray(pygame.surfarray.array3d(self._frame).swapaxes(0, 1))

    def show(self, image: np.ndarray | None = None) -> bool:
        """Shows the last frame, or another image, in a window; returns False once a person closed it.

        Raises NoDisplayError where there is no display.
        """
        frame = self._frame if image is None else pygame.surfarray.make_surface(image.swapaxes(0, 1))
        if self._window is None:
            self._window = _open_window(frame.get_size())
        for event in pygame.event.get():
            key = event.key if event.type == pygame.KEYDOWN else None
            if event.type == pygame.QUIT or key in (pygame.K_ESCAPE, pygame.K_q):
                self.close()
                return False
        self._window.blit(frame, (0, 0))
        pygame.display.flip()
        return True

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            pygame.display.quit()
            self._window = None

    def _look_at(self, x: float, y: float) -> None:
        """Moves the camera so that the point (x, y) [m] stands at the centering."""
        scale = self.scaling * SUPERSAMPLING
        width, height = self._canvas.get_size()
        self._scale = scale
        self._origin = np.array([x - self.centering[0] * width / scale, y - self.centering[1] * height / scale])
        self._centre = self._origin + np.array([width, height]) / (2 * scale)
        self._radius = float(np.hypot(width, height)) / (2 * scale)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """World points [n, 2] in m to canvas pixels. As in highway-env, y grows down the frame."""
        return (points - self._origin) * self._scale

    def _fill(self, colour: Colour, points: np.ndarray) -> None:
        pygame.draw.polygon(self._canvas, colour, self._pixels(points).tolist())

    def _draw_road(self, state: dict[str, np.ndarray]) -> None:
        layers = [(SHOULDER, 1.6), (ASPHALT, 0.35)]
        if self._car_park is not None:
            # Bays say nothing of the ground between them: it is paved, as far as the walls if there are any.
            walls = state["kind"] == Kind.OBSTACLE
            corners = np.concatenate([self._car_park, np.stack([state["x"], state["y"]], axis=-1)[walls]])
            self._fill(ASPHALT, _rectangle(corners.min(axis=0), corners.max(axis=0)))
            layers = []
        visible = list(self.shapes.visible(self._centre, self._radius))
        # Layer by layer over all lanes, so that the shoulder of one lane never covers the asphalt of another.
        for colour, margin in layers:
            for lane, start, end in visible:
                self._fill(colour, self.shapes.ribbon(lane, start, end, margin))
        for lane, start, end in visible:
            for stroke in self.shapes.markings(lane, start, end):
                self._fill(PAINT, stroke)

    def _draw_things(self, state: dict[str, np.ndarray]) -> None:
        position = np.stack([state["x"], state["y"]], axis=-1)
        near = np.hypot(*(position - self._centre).T) < self._radius + np.maximum(state["length"], state["width"])
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
            roof = _shade(body, 1.12)  # A crashed ego keeps its green roof.
            body = CRASHED if crashed[slot] else body
            self._draw_car(
                pose,
                body,
                roof if slot in egos else _shade(body, 1.12),
                state["acceleration"][slot] < BRAKING,
            )

    def _draw_object(
        self, pose: tuple[np.ndarray, float], size: tuple[float, float], landmark: bool, hit: bool
    ) -> None:
        """A solid box; a landmark also gets a frame, which a car that stands on it does not hide."""
        colour = (REACHED if hit else LANDMARK) if landmark else (CRASHED if hit else OBSTACLE)
        self._fill(_shade(colour, 0.62), _placed(_box(*size), *pose))
        self._fill(colour, _placed(_box(*(max(side - 0.2, side / 2) for side in size)), *pose))
        if landmark:
            frame = self._pixels(_placed(_box(LENGTH + 2 * GOAL_MARGIN, WIDTH + 2 * GOAL_MARGIN), *pose))
            pygame.draw.polygon(self._canvas, colour, frame.tolist(), max(1, round(0.25 * self._scale)))

    def _draw_car(self, pose: tuple[np.ndarray, float], body: Colour, roof: Colour, braking: bool) -> None:
        position, heading = pose
        self._fill(_shade(ASPHALT, 0.62), _placed(CAR_BODY, position + 0.22, heading))
        self._fill(_shade(body, 0.55), _placed(CAR_BODY * 1.035, position, heading))
        self._fill(body, _placed(CAR_BODY, position, heading))
        self._fill(GLASS, _placed(CAR_CABIN, position, heading))
        self._fill(roof, _placed(CAR_ROOF, position, heading))
        tail = BRAKE_LIGHT if braking else TAIL_LIGHT
        for side in (-1.0, 1.0):
            self._fill(HEADLIGHT, _placed(_box(0.3, 0.42, 2.3, 0.68 * side), position, heading))
            self._fill(tail, _placed(_box(0.22, 0.46, -2.36, 0.68 * side), position, heading))

    def _draw_mark(self, mark: Mark) -> None:
        if len(mark.points) > 1:
            points, width = self._pixels(mark.points).tolist(), mark.width * SUPERSAMPLING
            if mark.closed and len(points) > 2:
                pygame.draw.polygon(self._canvas, mark.colour, points, width)
            else:
                pygame.draw.lines(self._canvas, mark.colour, False, points, max(1, width))

    def _label(self, mark: Mark) -> None:
        if mark.label:
            self._load_fonts()
            x, y = self._pixels(mark.points[0]) / SUPERSAMPLING
            width, height = self._fonts[20].size(mark.label)
            place = (round(float(x) - width / 2), round(float(y) - height / 2))
            self._panel(pygame.Rect(place[0] - 3, place[1] - 2, width + 6, height + 3))
            self._write(mark.label, place, 20, mark.colour)

    def _load_fonts(self) -> None:
        pygame.font.init()  # highway-env quits pygame, and its fonts, whenever one of its viewers is closed
        self._fonts = {size: pygame.font.Font(None, size) for size in (20, 24)}

    def _draw_hud(self, hud: Hud) -> None:
        """Figures along the upper edge with the title beside or under them; the actions along the lower edge."""
        self._load_fonts()
        speed = None if hud.speed is None else ", ".join(f"{one:.1f}" for one in np.atleast_1d(hud.speed))
        figures = [
            ("t", hud.time, "{:.1f} s"),
            ("speed", speed, "{} m/s"),
            ("reward", hud.reward, "{:.2f}"),
            ("return", hud.total, "{:.2f}"),
        ]
        written, left = [], 14
        for label, value, form in figures:
            if value is not None:
                text, middle = form.format(value), left + self._fonts[20].size(label)[0] + 6
                written += [(label, (left, 11), 20, DIM_TEXT), (text, (middle, 9), 24, TEXT)]
                left = max(middle + self._fonts[24].size(text)[0] + 22, middle + 84)
        aside = self.size[0] - self._fonts[20].size(hud.title)[0] - 14
        if hud.title:
            written.append((hud.title, (aside, 11) if aside >= left else (14, 36), 20, DIM_TEXT))
        if written:
            self._panel(pygame.Rect(0, 0, self.size[0] if hud.title else left, 34 if aside >= left else HUD_HEIGHT))
        for words in written:
            self._write(*words)
        if hud.actions:
            self._draw_actions(hud)
        elif hud.action is not None:
            self._panel(pygame.Rect(0, self.size[1] - 28, self.size[0], 28))
            left = self._write("action", (14, self.size[1] - 21), 20, DIM_TEXT) + 6
            self._write(hud.action.replace("_", " ").lower(), (left, self.size[1] - 22), 24, TEXT)

    def _draw_actions(self, hud: Hud) -> None:
        """One cell an action along the lower edge: its name, its score as a bar, the chosen one lit."""
        scored = hud.scores is not None
        height = 46 if scored else 28
        top = self.size[1] - height
        self._panel(pygame.Rect(0, top, self.size[0], height))
        left, cell = 14, min(150, (self.size[0] - 28) // len(hud.actions))
        scores = np.asarray(hud.scores, dtype=float) if scored else np.zeros(len(hud.actions))
        fractions = _bar_lengths(scores, hud.score_label)
        for name, score, fraction in zip(hud.actions, scores, fractions, strict=True):
            chosen = name == hud.action
            label = name.replace("_", " ").lower()
            self._write(label, (left, top + 7), 20, EGO if chosen else DIM_TEXT)
            if scored:
                bar = pygame.Rect(left, top + 26, cell - 58, 10)
                pygame.draw.rect(self._frame, (70, 76, 84), bar, border_radius=3)
                full = pygame.Rect(bar.left, bar.top, round(bar.width * float(fraction)), bar.height)
                pygame.draw.rect(self._frame, EGO if chosen else TRAFFIC[0], full, border_radius=3)
                self._write(f"{score:.2f}", (bar.right + 6, top + 25), 20, TEXT if chosen else DIM_TEXT)
            left += cell
        if scored and hud.score_label and left + 120 < self.size[0]:
            self._write(hud.score_label, (left + 8, top + 24), 20, DIM_TEXT)

    def _panel(self, rectangle: pygame.Rect) -> None:
        panel = pygame.Surface(rectangle.size, pygame.SRCALPHA)
        panel.fill(PANEL)
        self._frame.blit(panel, rectangle)

    def _write(self, text: str, place: tuple[int, int], size: int, colour: Colour) -> int:
        """Writes `text` and returns its right end [px]."""
        image = self._fonts[size].render(text, True, colour)
        self._frame.blit(image, place)
        return place[0] + image.get_width()


def _open_window(size: tuple[int, int]) -> pygame.Surface:
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform.startswith("linux") and not any(map(os.environ.get, displays)):
        # SDL would find out too, but only after a complaint of its own on stderr.
        raise NoDisplayError("no display to show a window on; write to a file instead")
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as error:
        raise NoDisplayError(f"no display to show a window on ({error}); write to a file instead") from error
    if driver in WINDOWLESS_DRIVERS and driver != os.environ.get("SDL_VIDEODRIVER"):
        pygame.display.quit()
        raise NoDisplayError("no display to show a window on; write to a file instead")
    window = pygame.display.set_mode(size)
    pygame.display.set_caption("Slipstream")
    return window


def _bar_lengths(scores: np.ndarray, label: str) -> np.ndarray:
    """Shares of a full bar: probabilities as they are, other scores from the least to the greatest."""
    if label == "probability":
        return np.clip(scores, 0, 1)
    low, high = scores.min(), scores.max()
    return np.full_like(scores, 0.5) if high == low else 0.06 + 0.94 * (scores - low) / (high - low)


def _box(length: float, width: float, ahead: float = 0.0, aside: float = 0.0) -> np.ndarray:
    """Corners [4, 2] of a rectangle centred at (ahead, aside) [m] in a vehicle's frame."""
    a, b = length / 2, width / 2
    return np.array([(-a, -b), (a, -b), (a, b), (-a, b)]) + np.array([ahead, aside])


def _rectangle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Corners [4, 2] of the box between two opposite ones [m]."""
    return _box(*(high - low), *((low + high) / 2))


def _placed(shape: np.ndarray, position: np.ndarray, heading: float) -> np.ndarray:
    """A shape [n, 2] of a vehicle's frame in the world."""
    cos, sin = np.cos(heading), np.sin(heading)
    return shape @ np.array([[cos, sin], [-sin, cos]]) + position


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, int(channel * factor)) for channel in colour)


def _mirrored(half: list[tuple[float, float]]) -> np.ndarray:
    """A closed outline, symmetric about the vehicle's axis, from its right half listed front to rear [m]."""
    return np.array(half + [(x, -y) for x, y in reversed(half)])


# Outlines of a car of sim.engine.vehicles.LENGTH x WIDTH, 5 m x 2 m.
CAR_BODY = _mirrored([(2.5, 0.62), (2.3, 0.9), (1.9, 1.0), (-2.1, 1.0), (-2.4, 0.92), (-2.5, 0.72)])
CAR_CABIN = _mirrored([(1.15, 0.74), (0.5, 0.84), (-1.3, 0.84), (-1.9, 0.7)])
CAR_ROOF = _mirrored([(0.35, 0.68), (-1.2, 0.7)])
