"""What can be drawn over a picture: paths, plans, what the driver saw, metrics, a map; each by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sim.overlays.conflicts import rss_margins, snapshot, time_to_collision
from sim.overlays.frames import camera, require_frames
from sim.overlays.maps import minimap, scale_bar
from sim.overlays.metrics import MetricsTable
from sim.overlays.plan import plan, require_plan
from sim.overlays.seen import drawable, seen
from sim.overlays.trail import Trail
from sim.recording.film import Overlay
from sim.recording.replay import Frame
from sim.render import Drawing

__all__ = ["OVERLAYS", "Overlays", "names_of", "overlay_of", "snapshot"]


def _of_plan(envs: Any, driver: Any) -> Overlay:
    require_plan(driver)
    return plan


def _of_frames(envs: Any, driver: Any) -> Overlay:
    require_frames(envs)
    return camera


def _of_features(envs: Any, driver: Any) -> Overlay:
    drawable(envs)
    return seen


OVERLAYS: dict[str, Callable[[Any, Any], Overlay]] = {
    "ttc": lambda envs, driver: time_to_collision,
    "rss": lambda envs, driver: rss_margins,
    "seen": _of_features,
    "camera": _of_frames,
    "trail": lambda envs, driver: Trail(),
    "plan": _of_plan,
    "metrics": lambda envs, driver: MetricsTable(envs),
    "minimap": lambda envs, driver: minimap(envs),
    "scale": lambda envs, driver: scale_bar,
}
"""What makes an overlay, called with the environment and the driver, or None without one; ValueError where the overlay
means nothing."""


class Overlays:
    """Several overlays as one."""

    def __init__(self, parts: Sequence[Overlay]):
        self.parts = list(parts)

    def note(self, frame: Frame) -> None:
        """Lets those that remember see a frame that may not be drawn."""
        for part in self.parts:
            if hasattr(part, "note"):
                part.note(frame)

    def noted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yields the frames, noting each."""
        for frame in frames:
            self.note(frame)
            yield frame

    def __call__(self, frame: Frame, moment: Any) -> list[Drawing]:
        """Returns what all of them draw."""
        return [drawing for part in self.parts for drawing in part(frame, moment)]


def names_of(text: str | None) -> list[str]:
    """Returns the names in "ttc,rss"; none for None or nothing."""
    return [name.strip() for name in text.split(",")] if text else []


def overlay_of(names: Sequence[str], envs: Any, driver: Any = None) -> Overlays:
    """Returns what draws the overlays of these names for `envs`.

    Raises:
        ValueError: an unknown name, or an overlay that means nothing there.
    """
    unknown = [name for name in names if name not in OVERLAYS]
    if unknown or not names:
        raise ValueError(f"unknown overlay {', '.join(map(repr, unknown))}; there are {', '.join(OVERLAYS)}")
    return Overlays([OVERLAYS[name](envs, driver) for name in dict.fromkeys(names)])
