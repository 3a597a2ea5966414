"""What is written along the edges of a frame: who drives, how fast, for what reward, and what the driver thinks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pygame

from sim.render.palette import DIM_TEXT, EGO, GROOVE, NEAR, TEXT, TRAFFIC
from sim.render.pen import Pen

HUD_HEIGHT = 56
"""What the writing may take of a frame, above and again below [px]."""
ROW, BARS = 28, 46
"""Height of the lower edge with one line of text, and with bars [px]."""
NARROW = 64
"""Least width of an action's cell that has room for its name beside others [px]."""
WHEEL_TURN = math.radians(135)
"""How far the steering wheel is drawn turned at full steering."""


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
        controls: of an ego that is steered directly, "throttle" and "steering" in [-1, 1]: bars and a wheel.
        note: written large in the middle.
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
    controls: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def draw_hud(pen: Pen, hud: Hud) -> tuple[int, int]:
    """Draws it; returns how much of the frame it takes above and below [px]."""
    above, below = _figures(pen, hud), 0
    if hud.actions:
        below = _actions(pen, hud)
    elif hud.controls:
        below = _controls(pen, hud.controls)
    elif hud.action is not None:
        below = ROW
        width, height = pen.size
        pen.panel(pygame.Rect(0, height - ROW, width, ROW))
        left = pen.write("action", (14, height - 21), 20, DIM_TEXT) + 6
        pen.write(hud.action.replace("_", " ").lower(), (left, height - 22), 24, TEXT)
    if hud.note:
        _note(pen, hud.note, above)
    return above, below


def _figures(pen: Pen, hud: Hud) -> int:
    """Figures along the upper edge with the title beside or under them."""
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
            text, middle = form.format(value), left + pen.measure(label, 20)[0] + 6
            written += [(label, (left, 11), 20, DIM_TEXT), (text, (middle, 9), 24, TEXT)]
            left = max(middle + pen.measure(text, 24)[0] + 22, middle + 84)
    aside = pen.size[0] - pen.measure(hud.title, 20)[0] - 14
    if hud.title:
        written.append((hud.title, (aside, 11) if aside >= left else (14, 36), 20, DIM_TEXT))
    height = 34 if aside >= left else HUD_HEIGHT
    if not written:
        return 0
    pen.panel(pygame.Rect(0, 0, pen.size[0] if hud.title else left, height))
    for words in written:
        pen.write(*words)
    return height


def _actions(pen: Pen, hud: Hud) -> int:
    """One cell an action along the lower edge: its name, its score as a bar, the chosen one lit."""
    scored = hud.scores is not None
    width, bottom = pen.size
    height = BARS if scored else ROW
    cell = min(150, (width - 28) // len(hud.actions))
    if cell < NARROW:  # as many names as a grid of steering and throttle has do not fit beside each other
        pen.panel(pygame.Rect(0, bottom - ROW, width, ROW))
        left = pen.write("action", (14, bottom - 21), 20, DIM_TEXT) + 6
        pen.write(hud.action or "", (left, bottom - 22), 24, TEXT)
        return ROW
    top, left = bottom - height, 14
    pen.panel(pygame.Rect(0, top, width, height))
    scores = np.asarray(hud.scores, dtype=float) if scored else np.zeros(len(hud.actions))
    fractions = _bar_lengths(scores, hud.score_label)
    for name, score, fraction in zip(hud.actions, scores, fractions, strict=True):
        chosen = name == hud.action
        label = name.replace("_", " ").lower()
        pen.write(label, (left, top + 7), 20, EGO if chosen else DIM_TEXT)
        if scored:
            bar = pygame.Rect(left, top + 26, cell - 58, 10)
            pygame.draw.rect(pen.surface, GROOVE, bar, border_radius=3)
            full = pygame.Rect(bar.left, bar.top, round(bar.width * float(fraction)), bar.height)
            pygame.draw.rect(pen.surface, EGO if chosen else TRAFFIC[0], full, border_radius=3)
            pen.write(f"{score:.2f}", (bar.right + 6, top + 25), 20, TEXT if chosen else DIM_TEXT)
        left += cell
    if scored and hud.score_label and left + 120 < width:
        pen.write(hud.score_label, (left + 8, top + 24), 20, DIM_TEXT)
    return height


def _controls(pen: Pen, controls: Mapping[str, float]) -> int:
    """A bar from zero to the right or left for each control, and a wheel that is turned as far as the steering."""
    width, bottom = pen.size
    top, left = bottom - BARS, 14
    pen.panel(pygame.Rect(0, top, width, BARS))
    for name, value in controls.items():
        pen.write(name, (left, top + 7), 20, DIM_TEXT)
        pen.write(f"{value:+.2f}", (left + 98, top + 7), 20, TEXT)
        bar = pygame.Rect(left, top + 26, 132, 10)
        pygame.draw.rect(pen.surface, GROOVE, bar, border_radius=3)
        reach = round(float(np.clip(value, -1, 1)) * bar.width / 2)
        full = pygame.Rect(bar.centerx + min(reach, 0), bar.top, abs(reach), bar.height)
        pygame.draw.rect(pen.surface, NEAR if name == "throttle" and value < 0 else EGO, full)
        pygame.draw.line(pen.surface, DIM_TEXT, (bar.centerx, bar.top - 1), (bar.centerx, bar.bottom))
        left += 158
        if name == "steering":
            _wheel(pen, (left + 14, top + BARS // 2), float(value) * WHEEL_TURN)
            left += 58
    return BARS


def _wheel(pen: Pen, middle: tuple[int, int], angle: float) -> None:
    """A steering wheel, turned clockwise by `angle` [rad]."""
    fine = 4  # drawn larger and scaled down: smooth edges
    radius, side = 17 * fine, 44 * fine
    wheel = pygame.Surface((side, side), pygame.SRCALPHA)
    wheel.fill((*TEXT, 0))
    hub = (side / 2, side / 2)
    pygame.draw.circle(wheel, TEXT, hub, radius, 3 * fine)
    for spoke in (0.0, math.pi, math.pi / 2):
        tip = (hub[0] + radius * math.cos(spoke + angle), hub[1] + radius * math.sin(spoke + angle))
        pygame.draw.line(wheel, TEXT, hub, tip, 3 * fine)
    crown = (hub[0] + radius * math.sin(angle), hub[1] - radius * math.cos(angle))
    pygame.draw.circle(wheel, EGO, crown, 4 * fine)
    small = pygame.transform.smoothscale(wheel, (side // fine, side // fine))
    pen.surface.blit(small, (middle[0] - side // fine // 2, middle[1] - side // fine // 2))


def _note(pen: Pen, note: str, above: int) -> None:
    """Lines in the middle, under the writing at the upper edge."""
    lines = note.split("\n")
    widest = max(pen.measure(line, 24)[0] for line in lines)
    box = pygame.Rect(0, above + 14, widest + 36, 26 * len(lines) + 14)
    box.centerx = pen.size[0] // 2
    pen.panel(box)
    for number, line in enumerate(lines):
        left = box.centerx - pen.measure(line, 24)[0] // 2
        pen.write(line, (left, box.top + 10 + 26 * number), 24, TEXT if number == 0 else DIM_TEXT)


def _bar_lengths(scores: np.ndarray, label: str) -> np.ndarray:
    """Shares of a full bar: probabilities as they are, other scores from the least to the greatest."""
    if label == "probability":
        return np.clip(scores, 0, 1)
    low, high = scores.min(), scores.max()
    return np.full_like(scores, 0.5) if high == low else 0.06 + 0.94 * (scores - low) / (high - low)
