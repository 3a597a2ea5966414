"""Replays as pictures: the camera of an id, places between the frames, two drivers beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from sim.recording.replay import Frame, Moment
from sim.render import HUD_HEIGHT, Drawing, Renderer

SMOOTH_RATE = 20.0
"""Pictures a simulated second below which places between the frames are drawn too [Hz]."""
STRIP_ZOOM = 1.27
"""Enlargement of what is seen along a straight road."""
PUSH = 2.0
"""How much further than its speed takes it a contact may push a vehicle within a frame [m]."""
SEAM = 4
"""Between two pictures beside each other [px]."""

SHELF = 236
"""Height of the panels over a strip along a straight road [px]."""
COLUMNS = {"metrics": (212, 0), "camera": (0, 276), "minimap": (0, 276)}
"""Width of the panels to the left and to the right of other pictures, by the overlay that has them [px]."""

Overlay = Callable[[Frame, Any], Sequence[Drawing]]
"""What to draw over a frame: called with the frame and the state of the very moment that is drawn.

Between two frames that state has a `lag`: how long before the later one it is [s]. An overlay that remembers has a
`note(frame)` too, which may be called with frames that are not drawn, in the order of time.
"""


def camera(envs: Any, overlays: Iterable[str] = ()) -> Renderer:
    """Returns a renderer with the view of the id's config, and room for the writing and the panels of `overlays`.

    A strip along a straight road, 4 to 1 as highway-env's default, is made twice as large and shows more of the road;
    other pictures grow by what is written above and below them. Panels stand over a strip and beside other pictures.
    """
    config, wanted = envs.config, set(overlays)
    width, height, scaling = config["screen_width"], config["screen_height"], config["scaling"]
    across, down = config["centering_position"]
    if width >= 4 * height:
        shelf = SHELF if wanted & {"metrics", "camera"} else 0
        framed = 2 * height + shelf
        centering = (across, (down * 2 * height + shelf) / framed)
        return Renderer(envs.network, 2 * width, framed, STRIP_ZOOM * scaling, centering)
    left, right = (max([COLUMNS[name][side] for name in wanted & set(COLUMNS)], default=0) for side in (0, 1))
    framed, wide = height + 2 * HUD_HEIGHT, left + width + right
    centering = ((left + across * width) / wide, (down * height + HUD_HEIGHT) / framed)
    return Renderer(envs.network, wide, framed, scaling, centering)


def pictures(
    renderer: Renderer, frames: Iterable[Frame], rate: float, overlay: Overlay | None = None
) -> tuple[Iterator[np.ndarray], float]:
    """Returns the images of a replay, [H, W, 3] each, and how many of them make one simulated second.

    Between two frames of the simulation (5 Hz in highway-fast-v0, too few for the eye) vehicles are drawn on the
    straight line from one place to the next; the last frame stays for a second. What has gone another way than its
    speed would take it is another vehicle, in a slot that was given away: it is drawn in its new place.

    Args:
        renderer: draws them.
        frames: from `replay`.
        rate: frames a simulated second, from `frame_rate`.
        overlay: what else to draw.
    """
    steps = math.ceil(SMOOTH_RATE / rate)

    def images() -> Iterator[np.ndarray]:
        image = None
        for frame, moment in moments(frames, rate, steps):
            image = draw(renderer, frame, moment, overlay)
            yield image
        for _ in range(round(rate * steps) if image is not None else 0):
            yield image

    return images(), rate * steps


def draw(renderer: Renderer, frame: Frame, moment: Any, overlay: Overlay | None = None) -> np.ndarray:
    """Returns the picture of a moment, [H, W, 3], with what is written over its frame and what `overlay` draws."""
    if overlay is None:
        return renderer.draw(moment, 0, frame.hud)
    return renderer.draw(moment, 0, frame.hud, overlay(frame, moment))


def moments(frames: Iterable[Frame], rate: float, steps: int) -> Iterator[tuple[Frame, Any]]:
    """Yields `steps` moments a frame, up to it, each with the frame it belongs to; the last is the frame's own state.

    Args:
        frames: in the order of time.
        rate: frames a simulated second.
        steps: at least one.
    """
    before = None
    for frame in frames:
        after = {name: getattr(frame.world, name)[:1].clone() for name in ("x", "y", "heading", "speed")}
        moved = None if before is None else _same_vehicles(before, after, rate)
        for step in range(1, steps + 1):
            if moved is None or step == steps:
                yield frame, frame.world
            else:
                shares = torch.where(moved, step / steps, 1.0).to(after["x"].dtype)
                pose = {name: torch.lerp(before[name], after[name], shares) for name in ("x", "y", "heading")}
                yield frame, Moment(frame.world, pose | {"lag": (1 - step / steps) / rate})
        before = after


def beside(first: Iterator[np.ndarray], second: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the pictures of two replays in step, wide ones above each other; the one that ends first stays still."""
    left = right = None
    for one, other in zip_longest(first, second):
        left, right = left if one is None else one, right if other is None else other
        if left is None or right is None:
            raise ValueError("there is nothing to show beside the other replay")
        axis = 0 if left.shape[1] > 2 * left.shape[0] else 1
        seam = np.zeros((SEAM, left.shape[1], 3) if axis == 0 else (left.shape[0], SEAM, 3), np.uint8)
        yield np.concatenate([left, seam, right], axis)


def _same_vehicles(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], rate: float) -> torch.Tensor | None:
    """Whether each slot [1, V] holds the vehicle that it held a frame ago; None if there are not as many slots."""
    if before["x"].shape != after["x"].shape:
        return None
    moved = torch.hypot(after["x"] - before["x"], after["y"] - before["y"])
    expected = torch.maximum(before["speed"].abs(), after["speed"].abs()) / rate
    return moved < expected + PUSH
